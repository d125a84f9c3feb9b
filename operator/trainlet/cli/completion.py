"""`trainlet completion SHELL`: a script made from the arguments of all verbs; names are asked for when needed."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import Template

from trainlet.cli.options import add_global_options
from trainlet.cli.resources import CLUSTER_RUNTIMES, KINDS, RUNTIMES, TRAIN_JOBS

#: Verbs whose words are names of jobs, verbs whose first word is a kind, and those whose only word begins with one.
JOB_VERBS = ("logs", "wait", "suspend", "resume")
KIND_VERBS = ("get", "describe", "delete")
FIELD_VERBS = ("explain",)
#: Kinds of which there is a definition.
_DEFINED = (TRAIN_JOBS, CLUSTER_RUNTIMES, RUNTIMES)


@dataclass(frozen=True)
class Flag:
    """One flag with all its spellings."""

    words: Sequence[str]
    help: str
    choices: Sequence[str]
    takes_value: bool


@dataclass(frozen=True)
class Verb:
    """What a script knows of one verb."""

    name: str
    help: str
    flags: Sequence[Flag]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("shell", choices=sorted(_SHELLS), metavar="SHELL", help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from trainlet.cli.main import VERBS

    print(_SHELLS[args.shell]([read_verb(name) for name in VERBS]), end="")
    return 0


def read_verb(name: str) -> Verb:
    """Return what one verb takes."""
    from trainlet.cli.main import VERBS, load_verb  # which imports this module only when it is used

    parser = argparse.ArgumentParser(prog=name)
    add_global_options(parser)
    load_verb(name).add_arguments(parser)
    flags = [
        Flag(action.option_strings, action.help or "", [str(c) for c in action.choices or ()], action.nargs != 0)
        for action in parser._actions
        if action.option_strings
    ]
    return Verb(name, VERBS[name][1], flags)


def render_bash(verbs: Sequence[Verb]) -> str:
    """Return the script for bash."""
    flags = {verb.name: " ".join(word for flag in verb.flags for word in flag.words) for verb in verbs}
    with_value = sorted({word for verb in verbs for flag in verb.flags if flag.takes_value for word in flag.words})
    return _BASH.substitute(
        verbs=" ".join(verb.name for verb in verbs),
        kinds=" ".join(kind.plural for kind in KINDS),
        with_value="|".join(with_value),
        flags="\n".join(f"        {name}) echo '{words}' ;;" for name, words in flags.items()),
        choices="\n".join(f"        {place}) echo '{choices}' ;;" for place, choices in _list_choices(verbs)),
        kind_verbs="|".join(KIND_VERBS),
        job_verbs="|".join(JOB_VERBS),
        field_verbs="|".join(FIELD_VERBS),
        defined=" ".join(kind.plural for kind in _DEFINED),
    )


def _list_choices(verbs: Sequence[Verb]) -> Iterator[tuple[str, str]]:
    for verb in verbs:
        for flag in verb.flags:
            if flag.choices:
                yield "|".join(f"{verb.name}:{word}" for word in flag.words), " ".join(flag.choices)


def render_zsh(verbs: Sequence[Verb]) -> str:
    """Return the script for zsh, which can read bash's."""
    return f"#compdef trainlet\nautoload -U +X bashcompinit && bashcompinit\n{render_bash(verbs)}"


def render_fish(verbs: Sequence[Verb]) -> str:
    """Return the script for fish."""
    lines = ["complete -c trainlet -f"]
    for verb in verbs:
        lines.append(f"complete -c trainlet -n __fish_use_subcommand -a {verb.name} -d {_quote(verb.help)}")
        seen = f"-n '__fish_seen_subcommand_from {verb.name}'"
        lines += [f"complete -c trainlet {seen} {_render_fish_flag(flag)}" for flag in verb.flags]
        if verb.name in JOB_VERBS:
            lines.append(f"complete -c trainlet {seen} -a '({_FISH_NAMES})'")
        elif verb.name in KIND_VERBS:
            words = " ".join(kind.plural for kind in KINDS)
            lines.append(f"complete -c trainlet {seen} -a '{words} ({_FISH_NAMES})'")
        elif verb.name in FIELD_VERBS:
            lines.append(f"complete -c trainlet {seen} -a '{' '.join(kind.plural for kind in _DEFINED)}'")
    return "\n".join(lines) + "\n"


def _render_fish_flag(flag: Flag) -> str:
    parts = [f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" for word in flag.words]
    if flag.choices:
        parts.append(f"-x -a {_quote(' '.join(flag.choices))}")
    elif flag.takes_value:
        parts.append("-r -F")
    return f"{' '.join(parts)} -d {_quote(flag.help)}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_FISH_NAMES = 'trainlet get tj -o name 2>/dev/null | string replace -r ".*/" ""'

_BASH = Template(r"""_trainlet_flags() {
    case $$1 in
$flags
    esac
}

_trainlet_choices() {
    case $$1 in
$choices
    esac
}

# The names of a kind, looked for where the command line says that things are.
_trainlet_names() {
    local i where=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case $${COMP_WORDS[i]} in
        --dir|--status-dir|-n|--namespace|--config) where+=("$${COMP_WORDS[i]}" "$${COMP_WORDS[i + 1]}") ;;
        esac
    done
    trainlet get "$$1" "$${where[@]}" -o name 2>/dev/null | sed 's|.*/||'
}

_trainlet() {
    local current=$${COMP_WORDS[COMP_CWORD]} previous=$${COMP_WORDS[COMP_CWORD - 1]} i words=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case $${COMP_WORDS[i]} in
        $with_value) ((i++)) ;;
        -*) ;;
        *) words+=("$${COMP_WORDS[i]}") ;;
        esac
    done
    local verb=$${words[0]} candidates
    case $$previous in
    $with_value)
        candidates=$$(_trainlet_choices "$$verb:$$previous")
        if [[ -n $$candidates ]]; then
            COMPREPLY=($$(compgen -W "$$candidates" -- "$$current"))
        else
            COMPREPLY=($$(compgen -f -- "$$current"))
        fi
        return ;;
    esac
    if [[ -z $$verb ]]; then
        candidates='$verbs'
    elif [[ $$current == -* ]]; then
        candidates=$$(_trainlet_flags "$$verb")
    else
        case $$verb in
        $kind_verbs)
            candidates='$kinds'
            [[ $${#words[@]} -gt 1 ]] && candidates=$$(_trainlet_names "$${words[1]}") ;;
        $job_verbs) candidates=$$(_trainlet_names tj) ;;
        $field_verbs) candidates='$defined' ;;
        completion) candidates='bash zsh fish' ;;
        *) COMPREPLY=($$(compgen -f -- "$$current")); return ;;
        esac
    fi
    COMPREPLY=($$(compgen -W "$$candidates" -- "$$current"))
}

complete -o filenames -F _trainlet trainlet
""")

_SHELLS = {"bash": render_bash, "zsh": render_zsh, "fish": render_fish}
