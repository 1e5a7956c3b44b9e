"""Interceptors: what may look at, change or hold an exchange. One file each."""
