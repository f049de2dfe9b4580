"""Downloads public data sets from Kaggle by its own client, and unpacks them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from beam_prep.console.distribution import install_command
from beam_prep.console.errors import RunError, UsageError
from beam_prep.console.progress import progress_bar
from beam_prep.sources.unzip import unpack, unpacked_bytes
from beam_prep.storage.locks import exclusive
from beam_prep.storage.output_folder import check_output

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

DATASETS = {"chest-xray-pneumonia": "paultimothymooney/chest-xray-pneumonia"}
"""Short names of data sets, and their names on Kaggle, OWNER/NAME."""


def download(dataset: str, output: str) -> int:
    """Downloads and unpacks a data set; resumes an interrupted download.

    The work happens in a folder beside the output, which becomes the output by rename: there is never half a data set.

    Args:
        dataset: a key of `DATASETS`, or OWNER/NAME as Kaggle writes it.
        output: the folder for the files of the data set; it must be empty or absent.

    Returns:
        The number of files of the data set.

    Raises:
        UsageError: the name is unknown, there is no client or no credentials, or the output folder is not empty.
        RunError: Kaggle refuses, can't be reached, or sent a broken archive.
    """
    full_name = DATASETS.get(dataset, dataset)
    if full_name.count("/") != 1:
        known = ", ".join(DATASETS)
        raise UsageError(f"--dataset {dataset}: expected one of {known}, or OWNER/NAME as Kaggle writes it")
    folder = Path(output)
    check_output(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    with exclusive(partial):
        archive = _fetch(full_name, partial)
        num_files = _unpack(archive, partial / "files")
        os.replace(partial / "files", folder)
        shutil.rmtree(partial)
    return num_files


def _fetch(dataset: str, folder: Path) -> Path:
    """Downloads the archive of a data set into a folder, or the part of it that is missing there."""
    client = _sign_in()
    import requests

    url = f"https://www.kaggle.com/datasets/{dataset}"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the client prints to stdout and shows a progress bar
            client.dataset_download_files(dataset, path=str(folder), quiet=False)
    except requests.exceptions.HTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        reasons = {
            401: "does not accept the credentials; make new ones on https://www.kaggle.com/settings",
            403: f"forbids the download; sign in and agree to the terms of the data set: {url}",
            404: f"has no such data set; look at {url}",
        }
        raise RunError(f"{dataset}: Kaggle {reasons.get(code, f'answers {error}; try again later')}") from None
    except (requests.exceptions.RequestException, OSError, ValueError) as error:
        raise RunError(f"{dataset}: {error}; the same command resumes the download") from None
    return folder / f"{dataset.split('/')[1]}.zip"


def _unpack(archive: Path, folder: Path) -> int:
    """Unpacks an archive with a progress bar; returns the number of files."""
    shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted job
    with progress_bar("unpack", unpacked_bytes(archive), unit="bytes") as bar:
        return unpack(archive, folder, bar.update)


def _sign_in() -> KaggleApi:
    """Returns Kaggle's client, signed in with the credentials that it finds by itself.

    Raises:
        UsageError: the client is not installed, or finds no credentials.
    """
    # While it loads and signs in, the client prints messages for its own command line.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            from kaggle.api.kaggle_api_extended import KaggleApi
        except ModuleNotFoundError:
            raise UsageError(f"Kaggle's client is not installed: {install_command('kaggle')}") from None
        logging.getLogger("kaggle").setLevel(logging.ERROR)
        client = KaggleApi()
        try:
            client.authenticate()
        except SystemExit:
            raise UsageError(
                "found no credentials for Kaggle; make an API token on https://www.kaggle.com/settings and put it into "
                "~/.kaggle/kaggle.json or the variables KAGGLE_USERNAME and KAGGLE_KEY"
            ) from None
    return client
