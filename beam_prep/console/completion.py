"""Writes the scripts by which shells complete commands, flags and values. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from beam_prep.console.command import Flag

_BASH = """\
_cxrflow() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words="" word values=""
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && break
    words+="$word "
  done
  case "$words" in
%(commands)s
  esac
  COMPREPLY=($(compgen -W "$values" -- "$cur"))
}
complete -o default -F _cxrflow cxrflow
"""
# zsh reads the script of bash by its own emulation.
_ZSH = "autoload -Uz bashcompinit && bashcompinit\n"
_FISH = """\
function __cxrflow_at
  set -l words (string match --invert -- '-*' (commandline -opc)[2..])
  string match --quiet -- "$argv[1]*" "$words "
end
"""


def completion_script(shell: str, commands: Mapping[str, Sequence[Flag]]) -> str:
    """Returns the script that completes the command line of `cxrflow`.

    Args:
        shell: bash, zsh or fish.
        commands: name of each command, of one word or more → its flags.
    """
    if shell == "fish":
        return _FISH + "\n".join(_fish(commands)) + "\n"
    script = _BASH % {"commands": "\n".join(_bash(commands))}
    return script if shell == "bash" else _ZSH + script


def _next_words(commands: Mapping[str, object]) -> dict[str, list[str]]:
    """Returns the words that may follow the first words of a command, such as `k8s render`."""
    following: dict[str, list[str]] = {}
    for name in commands:
        words = name.split()
        for place, word in enumerate(words):
            offered = following.setdefault(" ".join(words[:place]), [])
            if word not in offered:
                offered.append(word)
    return following


def _names(flag: Flag) -> list[str]:
    """Returns the words that a command line may hold for a flag; none for a positional one."""
    if flag.is_positional:
        return []
    return [f"--{flag.name}", f"--no_{flag.name}"] if not flag.values and flag.default else [f"--{flag.name}"]


def _bash(commands: Mapping[str, Sequence[Flag]]) -> Iterator[str]:
    for name, flags in commands.items():
        named = [word for flag in flags for word in _names(flag)]
        places = [word for flag in flags if flag.is_positional for word in flag.choices]
        yield f'    "{name} "*)'
        yield "      case $prev in"
        for flag in flags:
            if flag.choices and not flag.is_positional:
                yield f'        --{flag.name}) values="{" ".join(flag.choices)}";;'
            elif flag.values and not flag.is_positional:
                yield f"        --{flag.name}) ;;"
        yield f'        *) [[ $cur == -* ]] && values="{" ".join([*named, "--help"])}" || values="{" ".join(places)}";;'
        yield "      esac;;"
    for words, offered in _next_words(commands).items():
        yield f'    "{words + " " if words else ""}") values="{" ".join(offered)}";;'


def _fish(commands: Mapping[str, Sequence[Flag]]) -> Iterator[str]:
    for words, offered in _next_words(commands).items():
        at = f"{words} " if words else ""
        others = "".join(f"; and not __cxrflow_at '{at}{word} '" for word in offered)
        yield f"complete -c cxrflow -n \"__cxrflow_at '{at}'{others}\" -f -a '{' '.join(offered)}'"
    for name, flags in commands.items():
        at = f"complete -c cxrflow -n \"__cxrflow_at '{name} '\""
        for flag in flags:
            if flag.is_positional:
                if flag.choices:
                    yield f"{at} -f -a '{' '.join(flag.choices)}'"
                continue
            text = flag.help.partition(". ")[0][:70].replace("\\", "").replace("'", "")
            values = f" -x -a '{' '.join(flag.choices)}'" if flag.choices else " -r" if flag.values else ""
            for word in _names(flag):
                yield f"{at} -l {word[2:]}{values} -d '{text}'"
