#!/usr/bin/env bash
# The book into target/book and the documentation of the code into target/doc, with links both ways.
#
#   scripts/build-book.sh
#
# Needs mdbook, for the book alone:
#   cargo install mdbook --no-default-features --features search --locked
# Neither loads anything: formulas are plain text, fonts and the search are in the book.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v mdbook >/dev/null; then
    echo "error: no mdbook: cargo install mdbook --no-default-features --features search --locked" >&2
    exit 2
fi
mdbook build docs
# What the pages link to in the sources lies in the documentation of the code, beside the book.
find target/book -name '*.html' -print0 |
    xargs -0 sed -i -E ':again; s#(href="[./]*)crates/([a-z-]+)/src/([^"]*)\.rs"#\1doc/src/\2/\3.rs.html"#g;
        s#(href="[^"]*doc/src/[a-z_]*)-([a-z-]*/)#\1_\2#g; t again'
# A README is its folder's index page; the repository's own is the first chapter.
find target/book -name '*.html' -print0 | xargs -0 sed -i -E 's#href="\.\./README\.html(\#[a-z-]*)?"#href="start.html"#g; s#(href="[^":]*)README\.html#\1index.html#g'
if [[ ${1:-} != --book-alone ]]; then
    cargo doc --locked --no-deps
fi
echo target/book/index.html
