"""Checks the rendered objects against strict schemas of Kubernetes 1.33 and later, and rules that no schema holds."""

import json
import re
from copy import deepcopy

import jsonschema
import kubernetes_validate.utils
import pytest
from crd_shapes import JOBSET, KUEUE_KINDS
from packaging.version import Version
from submissions import TRAIN, VARIANTS, only, pod_templates, rendered

KNOWN = set(kubernetes_validate.utils.all_versions())
VERSIONS = sorted((version for version in KNOWN if Version(version) >= Version("1.33")), key=Version)
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def check(obj: dict, version: str) -> None:
    """Raises a validation error if an object breaks its schema, also by an unknown field."""
    if obj["kind"] != "JobSet":
        kubernetes_validate.validate(obj, version, strict=True)
        return
    jsonschema.validate(obj, JOBSET)
    for replicated in obj["spec"]["replicatedJobs"]:
        child = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "child"}, **replicated["template"]}
        kubernetes_validate.validate(child, version, strict=True)


def jobs(objects: list[dict]) -> list[dict]:
    """Returns the Jobs among the objects and within their JobSets."""
    found = [obj for obj in objects if obj["kind"] == "Job"]
    for obj in objects:
        if obj["kind"] == "JobSet":
            found += [replicated["template"] for replicated in obj["spec"]["replicatedJobs"]]
    return found


def test_the_newest_versions_are_among_those_that_are_checked():
    assert {"1.33", "1.37"} <= {".".join(version.split(".")[:2]) for version in VERSIONS}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_valid(variant, version):
    for obj in rendered(*VARIANTS[variant]):
        check(obj, version)


@pytest.mark.parametrize("variant", ["one GPU", "JobSet"])
@pytest.mark.parametrize(
    "change",
    [
        lambda job: job["spec"].update(backOffLimit=3),
        lambda job: job["spec"]["template"]["spec"].update(nodeSelectors={}),
        lambda job: job["spec"]["template"]["spec"]["containers"][0]["securityContext"].update(runAsRoot=False),
        lambda job: job["spec"].update(completions="one"),
    ],
)
def test_a_misspelt_field_is_found(variant, change):
    objects = deepcopy(rendered(*VARIANTS[variant]))
    change(jobs(objects)[0])
    with pytest.raises(jsonschema.ValidationError):
        check(objects[-1], "1.33")


@pytest.mark.parametrize("path", [("spec", "maxRestarts"), ("spec", "network", "dns"), ("status",)])
def test_a_field_that_a_jobset_has_not_is_found(path):
    jobset = deepcopy(only(rendered(*VARIANTS["JobSet"]), "JobSet"))
    inner = jobset
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = {}
    with pytest.raises(jsonschema.ValidationError):
        check(jobset, "1.33")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_carries_the_labels_by_which_the_commands_find_it(variant):
    for obj in rendered(*VARIANTS[variant], name="lungs"):
        for labels in [obj["metadata"]["labels"], *(each["metadata"]["labels"] for each in pod_templates(obj))]:
            own = {name.partition("/")[2]: value for name, value in labels.items() if name.startswith("app.")}
            assert own.keys() == {"name", "instance", "component", "version", "managed-by"}
            assert (own["name"], own["instance"], own["managed-by"]) == ("cxrflow", "lungs", "cxrflow")
            assert own["component"] in {"trainer", "chief", "worker", "prep", "tensorboard"}
            assert all(LABEL.fullmatch(value) for value in labels.values())


@pytest.mark.parametrize("variant", VARIANTS)
def test_kueue_is_told_its_queue_where_it_decides_and_nowhere_else(variant):
    asked = "--queue" in VARIANTS[variant]
    for obj in rendered(*VARIANTS[variant]):
        queue = obj["metadata"]["labels"].get("kueue.x-k8s.io/queue-name")
        assert queue == ("gpus" if asked and obj["kind"] in KUEUE_KINDS else None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_rules_of_the_server_that_no_schema_tells(variant):
    objects = rendered(*VARIANTS[variant])
    names = [(obj["kind"], obj["metadata"]["name"]) for obj in objects]
    assert len(set(names)) == len(names)
    for template in pod_templates(objects):
        volumes = [volume["name"] for volume in template["spec"]["volumes"]]
        (container,) = template["spec"]["containers"]
        assert len(set(volumes)) == len(volumes)
        assert sorted(mount["name"] for mount in container["volumeMounts"]) == sorted(volumes)
        assert len({mount["mountPath"] for mount in container["volumeMounts"]}) == len(volumes)
        assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys()
    for job in jobs(objects):
        spec = job["spec"]
        pod = spec["template"]["spec"]
        assert pod["restartPolicy"] == "Never", "needed by podFailurePolicy"
        assert spec["podReplacementPolicy"] == "Failed", "the only one beside podFailurePolicy"
        rules = spec["podFailurePolicy"]["rules"]
        named = {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule}
        assert named == {pod["containers"][0]["name"]}
        assert ("backoffLimitPerIndex" in spec) <= (spec.get("completionMode") == "Indexed")
        assert ("maxFailedIndexes" in spec) <= ("backoffLimitPerIndex" in spec)
    for obj in objects:
        if obj["kind"] in ("Service", "NetworkPolicy"):
            spec = obj["spec"]
            selected = spec["selector"] if obj["kind"] == "Service" else spec["podSelector"]["matchLabels"]
            reached = [t for t in pod_templates(objects) if selected.items() <= t["metadata"]["labels"].items()]
            assert len(reached) == 1, "the pods of one component"


@pytest.mark.parametrize("flags", [(), ("--no_jobset",)])
def test_the_longest_name_still_gives_names_of_pods(flags):
    longest = "a" * 40
    objects = rendered("train", *TRAIN, "--num_nodes", 18, "--tensorboard", *flags, name=longest)
    (training, _) = pod_templates(objects)
    env = {each["name"]: each.get("value") for each in training["spec"]["containers"][0]["env"]}
    hosts = json.loads(env["TF_CONFIG"].replace("$(JOB_COMPLETION_INDEX)", "0"))["cluster"]["worker"]
    for host in hosts:
        pod, service = host.removesuffix(":2222").split(".")
        assert DNS_LABEL.fullmatch(pod)
        assert DNS_LABEL.fullmatch(service)
    for obj in objects:
        assert DNS_LABEL.fullmatch(obj["metadata"]["name"])
