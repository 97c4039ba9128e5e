#!/bin/sh
# First step of the operator's image: installs Python, of the version for which the wheels were fetched.
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends python3 ca-certificates
python3 -c 'import sys; assert sys.version_info[:2] == (3, 14), f"Python 3.14 is wanted, Debian has {sys.version}"'
