#!/bin/sh
# SPDX-License-Identifier: MIT
# git: clone, repack with threads, check, read the history.
. "$(dirname "$0")/common.sh"

need git git
HOME=$work
export HOME
git config --global safe.directory '*'
git config --global user.name tester
git config --global user.email tester@example.invalid
git config --global pack.threads 2
git config --global gc.autoDetach false
if git -C "$SOURCE_DIR" rev-parse HEAD >/dev/null 2>&1; then
  git clone -q --no-local "$SOURCE_DIR" "$work/first"
else # a source archive: its files in a few commits
  git init -q "$work/first"
  for part in include lib doc; do
    cp -r "$SOURCE_DIR/$part" "$work/first/"
    git -C "$work/first" add -A
    git -C "$work/first" commit -q -m "$part"
  done
fi
cat >"$work/program.sh" <<'SCRIPT'
set -eu
rm -rf second
git clone -q --no-local first second
cd second
git gc -q --aggressive --prune=now
git fsck --full --strict
git log -p --stat | cksum
git grep -c return | cksum
for file in $(git ls-files | head -n 20); do git blame "$file" | cksum; done
git archive HEAD | cksum
SCRIPT
cd "$work"
compare sh "$work/program.sh"
was_there git
