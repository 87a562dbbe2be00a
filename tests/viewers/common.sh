# SPDX-License-Identifier: MIT
# What the scripts of this directory share.

# Ends the test: it is skipped, or fails where everything was to be there.
skip() { # what is missing
  echo "skipped: there is no $1; ./run viewers --install has it installed"
  [ -z "${VIEWERS_MUST:-}" ] || exit 1
  exit 77
}
