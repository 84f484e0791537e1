#!/bin/sh
# What the welcome image runs: a text by default, a web page with the argument "serve".
case ${1:-} in
  "")
    cat <<'TEXT'
Welcome to Portside. This text comes out of a container on your machine: the engine works.

Next steps:
  portside run -d --name welcome -p 8080:80 portside/welcome serve
                                      a web page at http://localhost:8080
  portside run -it portside/welcome sh
                                      a shell in a container
  portside ps -a                      all containers
  portside pull debian:stable-slim    an image from a registry
TEXT
    ;;
  serve) exec httpd -f -p 80 -h /www ;;
  *) exec "$@" ;;
esac
