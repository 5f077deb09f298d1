"""Measures hob beside what it is compared with, in one run. Started by bench/run.sh."""
