"""The shells complete commands, flags and values by the scripts that `cxrflow completion` prints."""

import shutil
import subprocess
import sys

import pytest

COMPLETE_BASH = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _cxrflow; echo "${{COMPREPLY[@]}}"
"""
CASES = [
    ("cxrflow tra", {"train"}, {"export"}),
    ("cxrflow k8s ", {"render", "status"}, {"train"}),
    ("cxrflow k8s render ", {"train", "sweep", "prep"}, {"status"}),
    ("cxrflow train --arc", {"--arch"}, {"--data"}),
    ("cxrflow train --arch se", {"se_resnet", "se_resnet_small"}, {"vgg19"}),
    ("cxrflow train --no_au", {"--no_augment"}, {"--augment"}),
    ("cxrflow k8s submit train --data x --num_g", {"--num_gpus"}, {"--arch"}),
    ("cxrflow completion ", {"bash", "zsh", "fish"}, {"train"}),
]


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    def write(shell):
        path = tmp_path_factory.mktemp("completion") / shell
        line = [sys.executable, "-m", "cxrflow", "completion", shell]
        path.write_text(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
        return path

    return write


def test_bash(script):
    path = script("bash")
    for typed, expected, others in CASES:
        words = " ".join(f'"{word}"' for word in typed.split(" "))
        code = COMPLETE_BASH.format(script=path, words=words)
        offered = set(subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split())
        assert expected <= offered, typed
        assert not others & offered, typed


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish on this machine")
def test_fish(script):
    path = script("fish")
    for typed, expected, others in CASES:
        code = f'source {path}; complete -C "{typed}"'
        lines = subprocess.run(["fish", "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
        offered = {line.split("\t")[0] for line in lines}
        assert expected <= offered, typed
        assert not others & offered, typed


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh on this machine")
def test_zsh_reads_its_script(script):
    code = f"autoload -Uz compinit && compinit -u -D && source {script('zsh')} && print ${{_comps[cxrflow]}}"
    result = subprocess.run(["zsh", "-f", "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "_cxrflow" in result.stdout
