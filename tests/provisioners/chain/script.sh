#!/bin/sh
printf '%s|' "$WHO" "$PACKER_BUILD_NAME" "$PACKER_BUILDER_TYPE" "$@" > /srv/web/arguments
