#!/usr/bin/env bash
# Makes sure that there is a Chromium for the browser tests, in the order in which e2e/browser.py looks for one:
# a system Chromium; else Debian's headless shell, where apt and root are available; else Playwright's own.
set -euo pipefail
python="${1:?usage: install_browser.sh PATH_OF_PYTHON}"

if found="$("$python" -m e2e.browser)"; then
    echo "browser: $found"
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true
    for package in chromium-headless-shell chromium; do  # not every distribution has the shell
        if apt-get install -y -qq --no-install-recommends "$package" fonts-liberation >/dev/null; then
            exec "$python" -m e2e.browser
        fi
    done
    echo "browser: apt could not install chromium, trying Playwright's own" >&2
fi
if ! "$python" -m playwright install chromium; then
    echo "No browser for the tests: install Chromium with your package manager and run make again." >&2
    exit 1
fi
exec "$python" -m e2e.browser
