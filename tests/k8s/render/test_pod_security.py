"""Checks that every pod meets the restricted Pod Security Standard, and that the rules catch pods that do not."""

from copy import deepcopy

import pytest
from pod_security import own_violations, violations
from submissions import VARIANTS, pod_templates, rendered


def a_pod() -> dict:
    (template,) = pod_templates(rendered(*VARIANTS["one GPU"]))
    return deepcopy(template["spec"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_pod_is_restricted(variant):
    templates = list(pod_templates(rendered(*VARIANTS[variant])))
    assert templates
    for template in templates:
        assert violations(template["spec"]) == []
        assert own_violations(template["spec"]) == []


def of_container(**changes):
    return lambda pod: pod["containers"][0]["securityContext"].update(changes)


def of_pod(**changes):
    return lambda pod: pod["securityContext"].update(changes)


def without(name):
    def remove(pod):
        pod["securityContext"].pop(name, None)
        pod["containers"][0]["securityContext"].pop(name, None)

    return remove


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda pod: pod.update(hostNetwork=True), "hostNetwork"),
        (lambda pod: pod.update(hostPID=True), "hostPID"),
        (lambda pod: pod.update(hostIPC=True), "hostIPC"),
        (lambda pod: pod["volumes"].append({"name": "v", "hostPath": {"path": "/"}}), "volume v"),
        (lambda pod: pod["volumes"].append({"name": "v", "nfs": {"server": "s", "path": "/"}}), "volume v"),
        (of_pod(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), "sysctl kernel.msgmax"),
        (of_pod(runAsUser=0), "pod: runAsUser"),
        (of_pod(runAsNonRoot=False), "pod: runAsNonRoot"),
        (of_pod(seccompProfile={"type": "Unconfined"}), "pod: seccompProfile"),
        (of_pod(appArmorProfile={"type": "Unconfined"}), "pod: appArmorProfile"),
        (of_pod(seLinuxOptions={"type": "spc_t"}), "pod: seLinuxOptions"),
        (of_pod(seLinuxOptions={"user": "root"}), "pod: seLinuxOptions"),
        (of_pod(windowsOptions={"hostProcess": True}), "pod: hostProcess"),
        (without("runAsNonRoot"), "trainer: runAsNonRoot"),
        (without("seccompProfile"), "trainer: seccompProfile"),
        (without("allowPrivilegeEscalation"), "trainer: allowPrivilegeEscalation"),
        (without("capabilities"), "trainer: capabilities.drop"),
        (of_container(runAsUser=0), "trainer: runAsUser"),
        (of_container(runAsNonRoot=False), "trainer: runAsNonRoot"),
        (of_container(seccompProfile={"type": "Unconfined"}), "trainer: seccompProfile"),
        (of_container(allowPrivilegeEscalation=True), "trainer: allowPrivilegeEscalation"),
        (of_container(privileged=True), "trainer: privileged"),
        (of_container(procMount="Unmasked"), "trainer: procMount"),
        (of_container(capabilities={"drop": ["NET_RAW"]}), "trainer: capabilities.drop"),
        (of_container(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "trainer: capabilities.add"),
        (lambda pod: pod["containers"][0].update(ports=[{"hostPort": 80}]), "trainer: hostPort"),
        (
            lambda pod: pod["containers"][0].update(livenessProbe={"httpGet": {"host": "example.com"}}),
            "trainer: host of a probe",
        ),
        (
            lambda pod: pod.update(initContainers=[{"name": "first", "securityContext": {"privileged": True}}]),
            "first: privileged",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_rules_catch(change, found):
    pod = a_pod()
    change(pod)
    assert found in violations(pod)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (of_container(readOnlyRootFilesystem=False), "trainer: readOnlyRootFilesystem"),
        (lambda pod: pod.pop("automountServiceAccountToken"), "automountServiceAccountToken"),
        (without("runAsUser"), "runAsUser"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_our_own_rules_catch(change, found):
    pod = a_pod()
    change(pod)
    assert own_violations(pod) == [found]
