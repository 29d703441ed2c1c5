# Starts a program as systemd does that keeps descriptors for it: they come over a socket, and stand from
# number 3 on when the program begins.
import os
import socket
import sys

path, program = sys.argv[1], sys.argv[2:]
descriptors, names = [], []
with socket.socket(socket.AF_UNIX) as supervisor:
    supervisor.connect(path)
    while True:
        name, lot, _, _ = socket.recv_fds(supervisor, 1, 250)
        if not name:
            break
        descriptors += lot
        names += [{b"r": "relayd", b"l": "relayd-list"}[name]] * len(lot)
# Out of the way first: numbers may overlap.
count = len(descriptors)
high = [os.dup(fd) for fd in descriptors]
while any(fd < 3 + count for fd in high):
    high = [fd if fd >= 3 + count else os.dup(fd) for fd in high]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number, inheritable=True)
os.closerange(3 + count, max(high, default=3) + 1)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=":".join(names))
os.execv(program[0], program)
