"""Defines the flags of all commands: their types, defaults, units and help."""

from beam_prep.config.commands import DownloadConfig, ReportConfig, SynthesizeConfig, TfdsConfig, VerifyConfig
from beam_prep.config.prepare import AUTO, SALT_FLAGS, PrepConfig, check_class_names

__all__ = [
    "AUTO",
    "SALT_FLAGS",
    "DownloadConfig",
    "PrepConfig",
    "ReportConfig",
    "SynthesizeConfig",
    "TfdsConfig",
    "VerifyConfig",
    "check_class_names",
]
