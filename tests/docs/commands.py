#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: commands.py check | run | list
Commands of the documentation, and tests/docs/commands, which says for each how it is known to work.

check   every command is on the list and every line of the list is somewhere; what a command names
        (programs, presets, steps, options, cases, files) is there; settings in words are accepted;
        commands of gdb, which need no line, are there
run     runs those that the list says are to be run, as they stand or with smaller arguments; and
        sees whether those that have their output behind them in the text print that
list    prints the commands

From the root of the sources, with a release build in build/release."""
import fnmatch
import functools
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import time

from words import ROOT, Words, documents, name_of, outcome, read_list, report

LIST = ROOT / "tests/docs/commands"
RELEASE = ROOT / "build/release"
PRESETS = json.loads((ROOT / "CMakePresets.json").read_text())
ASSIGNMENT = r"[A-Z][A-Z0-9_]*=(?:\"[^\"]*\"|'[^']*'|\S)*"
SETTINGS = re.compile(rf"(?:{ASSIGNMENT} )*{ASSIGNMENT}$")
PROGRAM = r"(?:stress|test|gc|alloc|cycles|fuzz|bench|gdb)_\w+ "
FIRST = (r"\./run\b|(?:\.\./)*build/|cmake |ctest |cc |sh |tarn |"
         r"gdb |valgrind |setarch |strace |taskset |"
         r"(?:tests|stress|bench|examples|cmake)/[\w/.-]+\.sh\b|" + PROGRAM)
COMMAND = re.compile(rf"(?:{ASSIGNMENT} )*(?:{FIRST})|(?:{ASSIGNMENT} )+(?:\./)?[A-Za-z]\w*(?: |$)")
# In words these are the names of directories and scripts, of which nothing is said to be run.
IS_FILE = re.compile(r"build/$|build/release/\w+$|(?!build/)[\w/.-]+\.sh$")
PLACEHOLDER = re.compile(r"^(?:[A-Z][A-Z_]*|\.\.\.|<.*>|(?:\./)?(?:program|app)(?:\.[co])?|arguments)$")
OTHERS = ("apt", "ldconfig", "kill", "go", "speedscope") # programs of which nothing is looked at


class Wrong(Exception):
    """A command names something that is not there."""


# --- finding them ---------------------------------------------------------------------------------

def is_command(text):
    return bool(COMMAND.match(text)) and not text.split(" ")[0].endswith(":")


def of_session(block):
    """Commands of a block that begins with a prompt, with the lines that each is to print."""
    found = []
    for i, line in enumerate(block.lines):
        if line.startswith("$ "):
            found.append((block.place(i), line[2:].strip(), []))
        elif found:
            found[-1][2].append(line)
    return found


def is_session(block):
    return block.language is None and bool(block.lines) and block.lines[0].startswith("$ ")


def of_block(block):
    """Commands of a block, with the directory that a "cd" in it leads to."""
    if is_session(block):
        for place, text, _ in of_session(block):
            yield place, text, ""
        return
    lines = []
    for i, line in enumerate(block.lines):
        line = re.sub(r"\s+# .*$", "", line)
        if lines and lines[-1][1].endswith(" \\"):
            lines[-1] = (lines[-1][0], lines[-1][1][:-1] + line.strip())
        elif line.strip() and not line.lstrip().startswith("#"):
            lines.append((i, line))
    if block.language not in (None, "", "sh") or not lines or not is_command(lines[0][1].strip()):
        return
    directory = ""
    for i, line in lines:
        line = line.strip()
        if line.startswith("cd "):
            directory = line[3:]
            continue
        yield block.place(i), line, directory


def commands():
    """Each command once: its text, the first place, and the directory where it runs."""
    found = {}
    for document in documents():
        words = Words(document)
        for block in words.blocks:
            for place, text, directory in of_block(block):
                found.setdefault(text, (place, directory))
        for number, code in words.inline():
            if (is_command(code) and not SETTINGS.match(code) and not IS_FILE.match(code)
                    and not is_of_gdb(code)):
                found.setdefault(code, (f"{name_of(document)}:{number}", ""))
    return found


def shown():
    """What sessions have behind each command."""
    return {text: lines for document in documents() for block in Words(document).blocks
            if is_session(block) for _, text, lines in of_session(block)}


def is_of_gdb(code):
    """Is it a command "tarn ..." within gdb?  Such are not on the list."""
    script = (ROOT / "tools/gdb/tarn.py").read_text()
    match = re.match(r"tarn (\w+)", code)
    return bool(match and re.search(rf'\(\s*"{match.group(1)}",\s*\w+_command', script))


def gdb_commands():
    """Commands "tarn ..." of sessions with gdb."""
    for document in documents():
        for block in Words(document).blocks:
            for i, line in enumerate(block.lines):
                if line.startswith("(gdb) tarn "):
                    yield block.place(i), line[6:]


def synopses():
    """Lines such as "wordgraph [--threads N] [FILE]...", of programs of the examples."""
    for document in documents():
        for block in Words(document).blocks:
            for i, line in enumerate(block.lines):
                name = line.split(" ")[0]
                programs = [path for path in (RELEASE / "examples" / name,
                                              RELEASE / "examples/scheme" / name) if path.is_file()]
                if block.language is None and " [" in line and programs:
                    yield block.place(i), line, programs[0]


def settings():
    for document in documents():
        for number, code in Words(document).inline():
            if SETTINGS.match(code) and code.startswith("TARN_"):
                yield f"{name_of(document)}:{number}", code


# --- what they name -------------------------------------------------------------------------------

@functools.lru_cache(None)
def output_of(*command, **environment):
    return outcome(command, **environment)[1]


@functools.lru_cache(None)
def options():
    table = output_of(str(RELEASE / "tarn-manpage"), "--markdown")
    return set(re.findall(r"^`TARN_([A-Z_]+)=<", table, re.M))


@functools.lru_cache(None)
def scripts():
    paths = [ROOT / "run", *ROOT.glob("tests/**/*.sh"), *ROOT.glob("stress/*.sh"),
             *ROOT.glob("bench/**/*.sh"), *ROOT.glob("examples/**/*.scm"), *ROOT.glob("bench/*.c")]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


@functools.lru_cache(None)
def help_of_run():
    """The help of ./run, by command."""
    parts, name = {}, None
    for line in output_of("./run", "help").split("\n"):
        match = re.match(r"  ([a-z0-9]+)\b", line)
        name = match.group(1) if match else name if line.startswith(" ") else None
        if name:
            parts[name] = parts.get(name, "") + line + "\n"
    return parts


@functools.lru_cache(None)
def ctests():
    text = output_of("ctest", "--preset", "release", "--show-only=json-v1")
    tests = json.loads(text[text.index("{"):])["tests"]
    return {test["name"]: [label for entry in test.get("properties", [])
                           if entry["name"] == "LABELS" for label in entry["value"]]
            for test in tests}


@functools.lru_cache(None)
def targets():
    return set(re.findall(r"^([\w./-]+):", output_of("ninja", "-C", str(RELEASE), "-t", "targets",
                                                      "all"), re.M))


def need(condition, words):
    if not condition:
        raise Wrong(words)


def steps():
    text = (ROOT / "run").read_text()
    return re.search(r"^all_steps=\((.*?)\)", text, re.M | re.S).group(1).split()


def check_preset(kind, name):
    names = [preset["name"] for preset in PRESETS[kind] if not preset.get("hidden")]
    need(name in names or PLACEHOLDER.match(name), f"{kind} have no {name}")


def check_assignment(text):
    name = text.split("=")[0]
    if name in ("TARN_OPTIONS", "LD_PRELOAD"):
        return
    if name.startswith("TARN_"):
        cmake = (ROOT / "CMakeLists.txt").read_text()
        need(name[5:] in options() or re.search(rf"\b{name}\b", cmake), f"no option is {name}")
    else:
        need(re.search(rf"\b{name}\b", scripts()), f"no script knows {name}")


def check_options(words, text, whose):
    for word in words:
        option = re.match(r"--?[a-z][a-z-]*", word)
        if option:
            need(re.search(rf"(?<![\w-]){re.escape(option.group())}(?![\w-])", text),
                 f"{whose} does not know {option.group()}")


def names_after(words, with_value):
    """Words that are no options, nor the values of those that take one."""
    names, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in with_value
        elif not PLACEHOLDER.match(word):
            names.append(word)
    return names


def check_run(words):
    if not words or words[0] in ("help", "--help"):
        return
    command, rest = words[0], words[1:]
    need(command in help_of_run(), f"./run has no command {command}")
    if command == "scheme":
        if rest and rest[0] != "--zeal":
            check_program(RELEASE / "examples/scheme/scheme", rest)
        return
    check_options(rest, help_of_run()[command], f"./run {command}")
    valued = {"--seconds", "--seed", "--threads", "--jobs", "--patience", "--hours", "--minutes",
              "--leak", "--only", "--rounds", "--timeout"}
    names = names_after(rest, valued)
    if command == "bench":
        check_bench(rest, names)
        return
    if command == "viewers":
        recipe = (ROOT / "tests/viewers/CMakeLists.txt").read_text()
        for name in names:
            need(f"viewer_test({name} " in recipe, f"./run viewers has no test {name}")
        return
    where = {"stress": "stress/stress_{}.c", "fuzz": "tests/fuzz/fuzz_{}.c", "demo": "{}",
             "mutations": "tests/mutations/{}.patch", "programs": "tests/doors/programs/{}.sh"}
    for name in names:
        need(name in steps() if command == "test" else
             command in where and (ROOT / where[command].format(name)).exists(),
             f"./run {command} knows no {name}")


def check_bench(words, names):
    group = names[0] if names else "gc"
    need((ROOT / f"bench/group_{group}.c").exists(), f"./run bench has no group {group}")
    if "--only" in words:
        check_case(group, words[words.index("--only") + 1])


def check_case(group, pattern):
    cases = output_of(str(RELEASE / f"bench/bench_{group}"), "--list").split()
    need(PLACEHOLDER.match(pattern) or fnmatch.filter(cases, pattern),
         f"group {group} has no case {pattern}")


def check_cmake(words):
    for i, word in enumerate(words):
        if word == "--preset":
            kind = "buildPresets" if "--build" in words else "configurePresets"
            check_preset(kind, words[i + 1])
        if word == "--target":
            for name in words[i + 1:]:
                need(name in targets(), f"there is no target {name}")
        if word.startswith("-D"):
            name = word[2:].split("=")[0]
            need(re.search(rf"\b{name}\b", (ROOT / "CMakeLists.txt").read_text()),
                 f"no option of the build is {name}")


def check_ctest(words):
    for i, word in enumerate(words):
        if word == "--preset":
            check_preset("testPresets", words[i + 1])
        if word == "-L":
            sources = "\n".join(path.read_text() for path in ROOT.glob("*/**/CMakeLists.txt")
                                if path.relative_to(ROOT).parts[0] != "build")
            need(re.search(rf"LABELS (?:\"[^\"]*)?\b{words[i + 1]}\b", sources),
                 f"no test has the label {words[i + 1]}")
        if word == "-R":
            need([name for name in ctests() if re.search(words[i + 1], name)],
                 f"no test is called {words[i + 1]}")


def find_program(word):
    """The program of the release build that a word names, whatever its preset; None: it has none."""
    name = re.sub(r"^(?:\.\./)*build/[^/]+/", "", word)
    if re.search(r"_[A-Z]+$", name): # any of several
        found = sorted(RELEASE.glob("bench/" + re.sub(r"[A-Z]+$", "*", name)))
        need(found, f"there is no program {word}")
        return found[0]
    if name != word and (RELEASE / name).is_file():
        return RELEASE / name
    if name != word and (ROOT / name).with_suffix(".c").exists():
        return None
    found = [path for place in ("bench", "stress", "tests", "tests/gdb", "bin", "examples",
                                 "examples/scheme", "")
             for path in [RELEASE / place / os.path.basename(name)] if path.is_file()]
    need(name == word and found or (ROOT / f"tests/fuzz/{name}.c").exists(),
         f"there is no program {word}")
    return found[0] if found else None


def check_gdb(words):
    for i, word in enumerate(words):
        if word == "-x":
            need((ROOT / words[i + 1]).is_file(), f"there is no {words[i + 1]}")
        if word == "--args":
            check_words(words[i + 1:])


def check_program(path, words):
    if path is None or path.name.startswith("fuzz_"):
        return # not of this build; or the options are libFuzzer's
    if any(word.startswith("-") for word in words):
        check_options(words, output_of(str(path), "--help"), path.name)
    if path.name.startswith("bench_") and "--only" in words:
        check_case(path.name[6:], words[words.index("--only") + 1])


def check_words(words):
    while words and re.fullmatch(ASSIGNMENT, words[0], re.S):
        check_assignment(words[0])
        words = words[1:]
    if not words or PLACEHOLDER.match(words[0]):
        return
    first, rest = words[0], words[1:]
    if first == "./run":
        check_run(rest)
    elif first == "cmake":
        check_cmake(rest)
    elif first == "ctest":
        check_ctest(rest)
    elif first in ("setarch", "valgrind", "strace", "taskset"):
        index = 0
        while index < len(rest) and (rest[index].startswith("-") or rest[index].isdigit()):
            index += 1
        check_words(rest[index:])
    elif first == "gdb":
        check_gdb(rest)
    elif first == "tarn":
        command = str(find_program("tarn"))
        need(re.search(rf"^  {rest[0]}\b", output_of(command, "help"), re.M) or rest[0].startswith("-"),
             f"tarn has no command {rest[0]}")
        options_end = 2 if rest[0] == "run" else len(rest) # behind it are those of another program
        check_options(rest[1:options_end], output_of(command, "help", rest[0]), f"tarn {rest[0]}")
    elif first == "sh":
        path = ROOT / rest[0]
        need(path.is_file(), f"there is no script {rest[0]}")
    elif first in (*OTHERS, "sleep"):
        pass
    elif first == "cc":
        for word in rest:
            need(not word.startswith("-l") or (RELEASE / f"lib{word[2:]}.so").exists(), f"no {word}")
    elif first.endswith((".sh", ".py")):
        path = ROOT / first
        need(path.is_file(), f"there is no script {first}")
        need(os.access(path, os.X_OK), f"{first} cannot be executed")
        if first.endswith(".py"):
            return
        for word in rest:
            is_target = (ROOT / word).exists() or (ROOT / f"tests/fuzz/fuzz_{word}.c").exists()
            need(word.isdigit() or word in path.read_text() or is_target,
                 f"{first} knows no {word}")
    else:
        check_program(find_program(first), rest)


def check_parse(text):
    text = re.sub(r"\$\([^)]*\)", "SUBSTITUTED", text)
    for part in re.split(r" && | \| |; ", text.removesuffix(" &")):
        check_words([word for word in shlex.split(part, posix=True)])


def check_test(name):
    for one in name.split(", "):
        need(one in ctests() or one.startswith("step ") and one[5:] in steps(),
             f"no test of ctest, and no \"step NAME\" of ./run test, is {one}")


def check_output(text, source):
    """A file below build/ is there when `source` has run, which must have its name."""
    parts = [part for part in text.split("/")[1:] if part and not re.search("[A-Z]", part)]
    words = (ROOT / source).read_text() if (ROOT / source).is_file() else ""
    need(parts and parts[-1] in words, f"{source} does not make {text}")


# --- the list -------------------------------------------------------------------------------------

def coverage(how):
    """The kind, its argument, and the program that has to be there."""
    match = re.match(r"needs (\S+): (.*)", how)
    program, how = (match.group(1), match.group(2)) if match else (None, how)
    kind, _, argument = how.partition(" ")
    return kind, argument, program


def check_line(text, how):
    kind, argument, _ = coverage(how)
    need(kind in ("run", "quick", "shows", "test", "parse", "output"),
         f"\"{kind}\" is no way to cover it")
    need((kind in ("quick", "test", "output")) == bool(argument), f"\"{kind}\" and what?")
    if kind == "output":
        check_output(text, argument)
        return
    check_parse(text)
    if kind == "test":
        check_test(argument)


def is_placeholder(value):
    return bool(re.match(r"^(?:<.*>|\.\.\.|[A-Z]+)$", value))


def check_settings(text):
    """Are they accepted by a program of the release build that takes wrong ones for an error?"""
    parts = shlex.split(text)
    for part in parts:
        check_assignment(part)
    values = dict(part.split("=", 1) for part in parts)
    if any(is_placeholder(value) for value in values.values()):
        return
    values = {name: value for name, value in values.items() if name[5:] in options()}
    values.pop("TARN_HELP", None)
    values["TARN_STRICT"] = "1"
    with tempfile.TemporaryDirectory() as directory: # for files that a setting names
        said = outcome([str(RELEASE / "examples/smob")], directory, **values)[1]
    need("an option is wrong" not in said, f"it is not accepted: {said.strip()[:300]}")


def attempt(faults, place, function, *arguments):
    try:
        function(*arguments)
    except Wrong as wrong:
        faults.append(f"{place}: {wrong}")


def check():
    faults, found = [], commands()
    known = {what: (number, how) for number, what, how in read_list(LIST)}
    for text, (place, directory) in found.items():
        if directory and not (ROOT / directory).is_dir():
            faults.append(f"{place}: there is no directory {directory}")
        if text not in known:
            faults.append(f"{place}: this command is not in {name_of(LIST)}: {text}")
    for what, (number, how) in known.items():
        if what not in found:
            faults.append(f"{name_of(LIST)}:{number}: this command is nowhere: {what}")
        attempt(faults, f"{name_of(LIST)}:{number}: {what}", check_line, what, how)
    for place, text in gdb_commands():
        if not is_of_gdb(text):
            faults.append(f"{place}: tools/gdb/tarn.py has no such command: {text}")
    count = 0
    for place, text in settings():
        count += 1
        attempt(faults, f"{place}: {text}", check_settings, text)
    for place, line, program in synopses():
        words = re.findall(r"--[a-z-]+", line)
        attempt(faults, f"{place}: {line}", check_options, words,
                output_of(str(program), "--help"), program.name)
    return report(faults, f"{len(found)} commands, {count} settings", len(found) > 50)


def run_one(text, directory):
    start = time.monotonic()
    status, said = outcome(["bash", "-c", text], ROOT / directory)
    print(f"{time.monotonic() - start:5.1f} s  {text}", flush=True)
    if status != 0:
        print(f"FAILED: status {status}; its last lines:\n" + "\n".join(said.split("\n")[-15:]))
    return status == 0


def show_one(text, lines):
    """In an empty directory, with the commands of the build and the root of the sources there: it
    prints what the text has, in which "..." stands for any lines."""
    with tempfile.TemporaryDirectory() as directory:
        for name in ("tests", "examples"):
            os.symlink(ROOT / name, os.path.join(directory, name))
        path = f"{RELEASE / 'bin'}:{RELEASE / 'examples/scheme'}:{os.environ['PATH']}"
        status, said = outcome(["bash", "-c", text], directory, PATH=path)
    while lines and not lines[-1]:
        lines = lines[:-1]
    pattern = "".join("(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in lines)
    good = status == 0 and re.fullmatch(pattern, said)
    print(f"shows  {text}", flush=True)
    if not good:
        print(f"FAILED: status {status}, or not what the text has; it printed\n{said}")
    return bool(good)


def run():
    found, failed, done = commands(), 0, set()
    start = time.monotonic()
    for _, what, how in read_list(LIST):
        kind, argument, program = coverage(how)
        if kind == "shows":
            failed += not show_one(what, shown().get(what, []))
        if kind not in ("run", "quick") or what not in found:
            continue
        if program and not shutil.which(program):
            print(f"skipped, without {program}: {what}")
            continue
        text = argument if kind == "quick" else what
        if text not in done:
            done.add(text)
            failed += not run_one(text, found[what][1])
    seconds = time.monotonic() - start
    print(f"{len(done)} commands run in {seconds:.0f} s, {failed} failed")
    if seconds > 90:
        print("more than 90 s: who waits for that will not run it")
    return 1 if failed or not done else 0


def main():
    what = sys.argv[1] if len(sys.argv) == 2 else None
    if what == "list":
        for text, (place, directory) in commands().items():
            print(f"{place}\t{directory}\t{text}")
        return 0
    if what == "check":
        return check()
    if what == "run":
        return run()
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
