"""Scripts that complete the command line in bash, zsh and fish.

A script contains every word it can offer, so completion never starts Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHELLS = ("bash", "zsh", "fish")
Words = Mapping[str, Sequence[str]]  # for each verb, the words that may follow it, besides files

_BASH = """\
# bash completion for mezzotint
_mezzotint() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{verbs}"
  else
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _mezzotint mezzotint
"""
_ZSH = """\
#compdef mezzotint
# zsh completion for mezzotint
_mezzotint() {{
  local -a words_
  if (( CURRENT == 2 )); then
    words_=({verbs})
  else
    case ${{words[2]}} in
{cases}
    esac
  fi
  compadd -a words_
  (( CURRENT > 2 )) && _files
}}
compdef _mezzotint mezzotint
"""


def script(shell: str, verbs: Sequence[str], words: Words) -> str:
    """Return the completion script for a shell.

    Args:
        shell: One of SHELLS.
        verbs: The names of all verbs.
        words: For each verb, the words that may follow it, such as its options and the names of
            recipes.
    """
    if shell == "bash":
        cases = [f'      {verb}) words="{" ".join(each)}" ;;' for verb, each in words.items()]
        return _BASH.format(verbs=" ".join(verbs), cases="\n".join(cases))
    if shell == "zsh":
        cases = [f"      {verb}) words_=({' '.join(each)}) ;;" for verb, each in words.items()]
        return _ZSH.format(verbs=" ".join(verbs), cases="\n".join(cases))
    return _fish(verbs, words)


def _fish(verbs: Sequence[str], words: Words) -> str:
    first = f"complete -c mezzotint -n __fish_use_subcommand -f -a '{' '.join(verbs)}'"
    lines = ["# fish completion for mezzotint", first]
    for verb, each in words.items():
        follows = f"complete -c mezzotint -n '__fish_seen_subcommand_from {verb}'"
        names = [word for word in each if not word.startswith("-")]
        lines += [f"{follows} -l {word[2:]}" for word in each if word.startswith("--")]
        lines += [f"{follows} -a '{' '.join(names)}'"] if names else []
    return "\n".join([*lines, ""])
