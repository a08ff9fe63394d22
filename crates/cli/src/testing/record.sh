#!/bin/sh
# Stands in for a program in an example, and writes down what a shell made of its arguments: each
# ends with a zero byte. Behind a unit separator come the variables, one a line, and a record
# separator behind them.
printf '%s\0' "${0##*/}" "$@"
printf '\037'
/usr/bin/env
printf '\036'
