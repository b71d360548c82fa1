#!/bin/bash
# Install into clean environments, as a user does: `pip install .` works from any folder, `pip install -e .` from here.
set -euo pipefail
python=$1
scratch=$2
checkout=$PWD

# The project's commands answer in environment $1, from folder $2.
answers() {
    (
        cd "$2"
        "$1/bin/twistd" --help | grep -E '^ +mta ' || { echo "twistd in $1 does not list mta" >&2; exit 1; }
        "$1/bin/mta" --help >/dev/null
        "$1/bin/mta" --version
    )
}

"$python" -m venv "$scratch/plain"
# From a copy: a build leaves its folders in the tree, and would find those of an earlier one.
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -c |
    { mkdir "$scratch/copy" && tar -C "$scratch/copy" -x; }
"$scratch/plain/bin/pip" install -q --disable-pip-version-check -c constraints.txt "$scratch/copy"
rm -r "$scratch/copy"
answers "$scratch/plain" /

"$python" -m venv "$scratch/editable"
"$scratch/editable/bin/pip" install -q --disable-pip-version-check -c constraints.txt \
    -e . --config-settings editable_mode=compat
answers "$scratch/editable" "$checkout"
answers "$scratch/editable" /
