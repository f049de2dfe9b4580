"""The guide to GKE: its commands exist. Those of this project are parsed by `test_docs.py`, as in every document.

Source: `gcloud` 528, whose own parser checks them where it is on the PATH; `kubectl` 1.32.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import parse_gcloud
import pytest
import yaml
from documents import shell_lines

GUIDE = Path(__file__).parent.parent / "docs" / "gke.md"
GCLOUD = {
    "artifacts docker images describe": {"--format"},
    "artifacts repositories add-iam-policy-binding": {"--location", "--member", "--role"},
    "artifacts repositories create": {"--repository-format", "--location"},
    "artifacts repositories delete": {"--location"},
    "builds submit": {"--config", "--gcs-source-staging-dir", "--region", "--service-account", "--substitutions"},
    "config set": set(),
    "container clusters create": {
        *("--enable-dataplane-v2", "--location", "--machine-type", "--num-nodes", "--release-channel"),
        *("--service-account", "--workload-pool"),
    },
    "container clusters delete": {"--location"},
    "container clusters get-credentials": {"--location"},
    "container clusters update": {"--location", "--update-addons"},
    "container node-pools create": {
        *("--accelerator", "--cluster", "--disk-size", "--enable-autoscaling", "--location", "--machine-type"),
        *("--disk-type", "--max-nodes", "--min-nodes", "--num-nodes", "--service-account", "--spot"),
    },
    "iam service-accounts add-iam-policy-binding": {"--member", "--role"},
    "iam service-accounts create": set(),
    "iam service-accounts delete": set(),
    "projects add-iam-policy-binding": {"--condition", "--member", "--role"},
    "projects describe": {"--format"},
    "services enable": set(),
    "storage buckets add-iam-policy-binding": {"--member", "--role"},
    "storage buckets create": {
        *("--location", "--public-access-prevention", "--soft-delete-duration", "--uniform-bucket-level-access"),
    },
    "storage rm": {"--recursive"},
    "storage rsync": {"--recursive"},
}
KUBECTL = {
    "config set-context": {"--current", "--namespace"},
    "create namespace": set(),
    "create serviceaccount": {"--namespace"},
    "port-forward": set(),
}
KNOWN = {"gcloud": GCLOUD, "kubectl": KUBECTL}
LINES = [line for line in shell_lines(GUIDE) if line.strip()]


def commands(program):
    """The commands of a program, also those whose output goes into a variable."""
    found = [re.sub(r"^[A-Z_]+=\$\((.*)\)$", r"\1", line) for line in LINES]
    return [shlex.split(line)[1:] for line in found if line.startswith(f"{program} ")]


def account_name(word):
    """Returns the name of a service account that is written out or in a variable."""
    values = dict(line.split("=", 1) for line in LINES if re.match(r"[A-Z_]+=[^$(]*@", line))
    return values.get(word.removeprefix("$"), word).partition("@")[0]


@pytest.mark.parametrize("line", LINES)
def test_every_line_is_a_command_or_a_variable(line):
    assert re.match(r"(gcloud|kubectl|python -m (k8s|trainer|beam_prep|tuning)) |[A-Z_]+=\S", line)
    assert "$" not in re.sub(r"^[A-Z_]+=\$\(", "", line), "a variable that is not set"


@pytest.mark.parametrize("program", KNOWN)
def test_commands_of_google_and_kubernetes_are_known_verbs_with_known_flags(program):
    found = commands(program)
    assert found
    for words in found:
        name = next((name for name in KNOWN[program] if words[: len(name.split())] == name.split()), None)
        assert name, f"{program} {' '.join(words)}"
        flags = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert flags <= KNOWN[program][name], f"{program} {name}"


def expanded(line, values):
    """Returns a line with its variables as the shell would have them; a command's output becomes a word."""
    return re.sub(r"\$([A-Z_]+)", lambda match: values[match[1]], line)


def gcloud_lines():
    """Returns the words of every gcloud command in the documents, with the variables of their page."""
    for page in (GUIDE.parent.parent / "README.md", *GUIDE.parent.glob("*.md")):
        values = {}
        for line in shell_lines(page):
            if assigned := re.fullmatch(r"([A-Z_]+)=(.*)", line.strip()):
                values[assigned[1]] = "output" if assigned[2].startswith("$(") else expanded(assigned[2], values)
            command = re.sub(r"^[A-Z_]+=\$\((.*)\)$", r"\1", line.strip())
            if command.startswith("gcloud "):
                yield shlex.split(expanded(command, values), comments=True)[1:]


def gcloud_lines_of_builds():
    """Returns the words of every gcloud command in what Cloud Build runs, comments at the head included."""
    for path in GUIDE.parent.parent.glob("cloud*.yaml"):
        text = re.sub(r"\\\n#? +", "", path.read_text())
        for line in re.findall(r"^(?:# +| +(?:token=\$\()?)gcloud ([^|\n]*)", text, re.MULTILINE):
            command = line.removesuffix(")") if line.count("(") < line.count(")") else line
            yield shlex.split(re.sub(r"\$\w+", "x", command))


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed: its commands are not parsed by it")
def test_gcloud_itself_parses_every_command_in_the_documents(tmp_path):
    sdk = Path(shutil.which("gcloud")).resolve().parent.parent
    bundled = sdk / "platform" / "bundledpythonunix" / "bin" / "python3"
    program = [bundled if bundled.exists() else sys.executable, Path(parse_gcloud.__file__), sdk]
    of_builds = list(gcloud_lines_of_builds())
    assert len(of_builds) == 5
    lines = [*gcloud_lines(), *of_builds]
    assert len(lines) >= 50
    environ = {**os.environ, "CLOUDSDK_CONFIG": str(tmp_path), "PYTHONPATH": ""}

    def parse(commands):
        given = json.dumps(commands)
        return subprocess.run(program, input=given, env=environ, capture_output=True, text=True, timeout=200)

    parsed = parse(lines)
    assert parsed.returncode == 0, parsed.stderr[-1000:]
    assert parse([["storage", "rm", "--all-of-it", "gs://b"]]).returncode == 2, "a flag that gcloud does not know"


def test_what_is_made_is_deleted_at_the_end():
    made = [words[3] for words in commands("gcloud") if words[:3] == ["container", "clusters", "create"]]
    gone = [words[3] for words in commands("gcloud") if words[:3] == ["container", "clusters", "delete"]]
    assert made == gone == ["xray"]
    ours = [shlex.split(line)[3:] for line in LINES if line.startswith("python -m k8s")]
    accounts = {
        verb: {account_name(words[3]) for words in commands("gcloud") if words[:3] == ["iam", "service-accounts", verb]}
        for verb in ("create", "delete")
    }
    assert accounts == {
        verb: {"xray-node", "cxrflow-build", "cxrflow-launch", "cxrflow-worker"} for verb in ("create", "delete")
    }
    names = {
        verb: {words[words.index("--name") + 1] for words in ours if words[0] == verb} for verb in ("submit", "delete")
    }
    assert names["submit"] == names["delete"] == {"prep", "vgg19", "sweep"}


def test_files_that_it_names_are_there():
    for words in commands("gcloud"):
        if "--config" in words:
            assert list(yaml.safe_load_all((GUIDE.parent.parent / words[words.index("--config") + 1]).read_text()))


def test_every_substitution_of_the_build_is_in_its_table():
    files = {"build": "cloudbuild.yaml", "launch": "cloudlaunch.yaml"}
    builds = {name: yaml.safe_load((GUIDE.parent.parent / file).read_text()) for name, file in files.items()}
    rows = [line.split("|")[1:3] for line in GUIDE.read_text().splitlines() if line.startswith("| `_")]
    told = {name: set() for name in builds}
    for names, owner in rows:
        for name in builds if owner.strip() == "both" else [owner.strip()]:
            told[name] |= set(re.findall(r"`(_[A-Z_]+)`", names))
    assert told == {name: set(build["substitutions"]) for name, build in builds.items()}


def test_every_account_has_a_row_and_only_the_roles_of_its_rows():
    """Launching, building, training, Dataflow's workers and nodes have accounts of their own."""
    rows, account = {}, ""
    for cells in (line.split("|")[1:-1] for line in GUIDE.read_text().splitlines() if line.startswith("| ")):
        if len(cells) == 4 and "." in cells[1] and "`" in cells[1]:
            account = next(iter(re.findall(r"`([a-z-]+)`", cells[0])), account)
            rows.setdefault(account, set()).update(re.findall(r"`([a-zA-Z.]+)`", cells[1]))
    given = {}
    for words in commands("gcloud"):
        if "--role" in words:
            role = words[words.index("--role") + 1].removeprefix("roles/")
            member = words[words.index("--member") + 1]
            name = "trainer" if member.endswith("/sa/trainer") else account_name(member.partition(":")[2])
            given.setdefault(name, set()).add(role)
    assert given == rows
    assert set(given) == {"xray-node", "trainer", "cxrflow-build", "cxrflow-launch", "cxrflow-worker"}


def test_the_costs_add_up():
    rows = [line.split("|")[1:-1] for line in GUIDE.read_text().splitlines() if line.startswith("| ") and "$" in line]
    *parts, total = [(row[0].strip(), float(row[-1].strip(" *$"))) for row in rows]
    assert total[0].startswith("**one day")
    assert sum(cost for name, cost in parts if "not spot" not in name) == pytest.approx(total[1], abs=0.005)


def listed_by_git(folder):
    """Lists the files of a folder that .gcloudignore lets pass; gcloud reads it as git reads its .gitignore.

    Source: https://cloud.google.com/sdk/gcloud/reference/topic/gcloudignore
    """
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    command = ["git", "ls-files", "--others", f"--exclude-from={GUIDE.parent.parent / '.gcloudignore'}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split()


def listed_by_gcloud(folder):
    """Lists the files of a folder that gcloud would upload."""
    environ = {**os.environ, "CLOUDSDK_CONFIG": f"{folder}/.config"}
    shutil.copy(GUIDE.parent.parent / ".gcloudignore", folder)
    command = ["gcloud", "meta", "list-files-for-upload"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split() if name != ".gcloudignore"]


@pytest.mark.parametrize(("program", "uploaded"), [("git", listed_by_git), ("gcloud", listed_by_gcloud)])
def test_a_build_uploads_the_project_and_nothing_that_lies_beside_it(tmp_path, program, uploaded):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    kept = [".ci/run", "Makefile", "beam_prep/images/_kernels.c", "tests/fixtures/data/x.py", "docs/gke.md"]
    beside = [
        "chest_xray/train/NORMAL/a.jpeg",
        "dataset/train-0.tfrecord",
        "runs/a/model.keras",
        "kubeconfig",
        "key.json",
    ]
    for name in (*kept, *beside, "trainer/__pycache__/a.pyc", "build/demo/report.html", ".venv/bin/python"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(uploaded(tmp_path)) == sorted(kept)


def test_all_that_the_repository_holds_is_named_for_the_upload():
    root = GUIDE.parent.parent
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("not a git repository")
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split()
    allowed = {line[2:] for line in (root / ".gcloudignore").read_text().splitlines() if line.startswith("!/")}
    tops = {name.partition("/")[0] for name in listed}
    assert {top for top in tops if not any(fnmatch(top, pattern) for pattern in allowed)} == set()


def test_it_says_that_it_was_not_run():
    assert "not run on a real cluster" in GUIDE.read_text()
