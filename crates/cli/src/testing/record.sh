#!/bin/sh
# Stands in for a program in an example, and writes down what a shell made of its arguments: each ends with a zero byte,
# and the last one with a record separator behind it.
printf '%s\0' "${0##*/}" "$@"
printf '\036'
