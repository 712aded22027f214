"""Which calls to the kernel a command in the sandbox may make: a seccomp filter, built for this machine.

It is a list of what is allowed, so that a call which nobody thought of is refused. What ordinary programs need is
there: files, processes, threads, pipes, time. What changes the machine, looks into other processes or widens what a
process may do is not: mounts, namespaces, tracing, keys, kernel modules, BPF, io_uring, performance counters. A call
that this table is older than is told to be unknown (ENOSYS), so that the C library falls back to what it used before.

Source: seccomp(2), bpf(4) and the kernel's `asm/unistd.h` of x86-64 and arm64.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable
from types import MappingProxyType

_ALLOWED = """
accept:43:202 accept4:288:242 access:21: alarm:37: arch_prctl:158: bind:49:200 brk:12:214 capget:125:90 chdir:80:49
 clock_getres:229:114 clock_gettime:228:113 clock_nanosleep:230:115 close:3:57 close_range:436:436 connect:42:203
 copy_file_range:326:285 dup:32:23 dup2:33: dup3:292:24 epoll_create:213: epoll_create1:291:20 epoll_ctl:233:21
 epoll_pwait:281:22 epoll_pwait2:441:441 epoll_wait:232: eventfd:284: eventfd2:290:19 execve:59:221 execveat:322:281
 exit:60:93 exit_group:231:94 faccessat:269:48 faccessat2:439:439 fadvise64:221:223 fallocate:285:47 fchdir:81:50
 fcntl:72:25 fdatasync:75:83 fgetxattr:193:10 flistxattr:196:13 flock:73:32 fork:57: fstat:5:80 fstatfs:138:44
 fsync:74:82 ftruncate:77:46 futex:202:98 futex_wait:455:455 futex_waitv:449:449 futex_wake:454:454
 get_robust_list:274:100 getcpu:309:168 getcwd:79:17 getdents:78: getdents64:217:61 getegid:108:177 geteuid:107:175
 getgid:104:176 getgroups:115:158 getitimer:36:102 getpeername:52:205 getpgid:121:155 getpgrp:111: getpid:39:172
 getppid:110:173 getpriority:140:141 getrandom:318:278 getresgid:120:150 getresuid:118:148 getrlimit:97:163
 getrusage:98:165 getsid:124:156 getsockname:51:204 getsockopt:55:209 gettid:186:178 gettimeofday:96:169
 getuid:102:174 getxattr:191:8 inotify_add_watch:254:27 inotify_init:253: inotify_init1:294:26
 inotify_rm_watch:255:28 landlock_add_rule:445:445 landlock_create_ruleset:444:444 landlock_restrict_self:446:446
 lgetxattr:192:9 link:86: linkat:265:37 listen:50:201 listxattr:194:11 llistxattr:195:12 lseek:8:62 lstat:6:
 madvise:28:233 membarrier:324:283 memfd_create:319:279 mincore:27:232 mkdir:83: mkdirat:258:34 mlock:149:228
 mlock2:325:284 mmap:9:222 mprotect:10:226 mremap:25:216 msync:26:227 munlock:150:229 munmap:11:215 nanosleep:35:101
 newfstatat:262:79 pause:34: pidfd_open:434:434 pipe:22: pipe2:293:59 poll:7: ppoll:271:73 prctl:157:167
 pread64:17:67 preadv:295:69 preadv2:327:286 pselect6:270:72 pwrite64:18:68 pwritev:296:70 pwritev2:328:287 read:0:63
 readahead:187:213 readlink:89: readlinkat:267:78 readv:19:65 recvfrom:45:207 recvmmsg:299:243 recvmsg:47:212
 rename:82: renameat:264:38 renameat2:316:276 restart_syscall:219:128 rmdir:84: rseq:334:293 rt_sigaction:13:134
 rt_sigpending:127:136 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigsuspend:130:133 rt_sigtimedwait:128:137
 sched_get_priority_max:146:125 sched_get_priority_min:147:126 sched_getaffinity:204:123 sched_getattr:315:275
 sched_getparam:143:121 sched_getscheduler:145:120 sched_yield:24:124 select:23: sendfile:40:71 sendmmsg:307:269
 sendmsg:46:211 sendto:44:206 set_robust_list:273:99 set_tid_address:218:96 setfsgid:123:152 setfsuid:122:151
 setgid:106:144 setgroups:116:159 setitimer:38:103 setregid:114:143 setresgid:119:149 setresuid:117:147
 setreuid:113:145 setrlimit:160:164 setsockopt:54:208 setuid:105:146 shutdown:48:210 sigaltstack:131:132
 signalfd:282: signalfd4:289:74 splice:275:76 stat:4: statfs:137:43 statx:332:291 symlink:88: symlinkat:266:36
 sync:162:81 sync_file_range:277:84 syncfs:306:267 sysinfo:99:179 tee:276:77 time:201: timer_create:222:107
 timer_delete:226:111 timer_getoverrun:225:109 timer_gettime:224:108 timer_settime:223:110 timerfd_create:283:85
 timerfd_gettime:287:87 timerfd_settime:286:86 times:100:153 truncate:76:45 umask:95:166 uname:63:160 unlink:87:
 unlinkat:263:35 vfork:58: wait4:61:260 waitid:247:95 write:1:64 writev:20:66
"""
"""name:x86-64:arm64, with nothing where a machine has no such call."""
_SIGNALS = """
kill:62:129 tkill:200:130 tgkill:234:131 pidfd_send_signal:424:424 rt_sigqueueinfo:129:138
 rt_tgsigqueueinfo:297:240
"""
_SESSIONS = """
setsid:112:157 setpgid:109:154
"""
_METADATA = """
chown:92: fchown:93:55 fchownat:260:54 lchown:94: fsetxattr:190:7 setxattr:188:5 lsetxattr:189:6 fremovexattr:199:16
 removexattr:197:14 lremovexattr:198:15 futimesat:261: utime:132: utimes:235: utimensat:280:88
"""
"""Change owners, times and attributes of a file, also of one that is open for reading only."""
_MODES = """
chmod:90: fchmod:91:52 fchmodat:268:53 fchmodat2:452:452
"""
"""Change the rights of a file."""
_LOOKED_INTO = """
creat:85: mknod:133: mknodat:259:33 open:2: openat:257:56 openat2:437:437 socketpair:53:199
clone:56:220 clone3:435:435 ioctl:16:29 personality:135:92 prlimit64:302:261 socket:41:198
"""
"""Those that depend on an argument."""
NEWEST_CALL = 467
"""The highest number that the kernels have which this table was made for (6.15)."""

_MACHINES = MappingProxyType({"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)})
"""Column of the table, and the kernel's AUDIT_ARCH."""
_X32 = 0x40000000
"""Calls of the x32 ABI begin here: the same calls by other numbers."""

_NEW_NAMESPACES = 0x7E020080
"""Every CLONE_NEW flag of clone(2)."""
_TYPE_FOR_OTHERS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: put characters into a terminal's input, as if its user had typed them."""
_CHANGE_FLAGS = (0x40086602, 0x40046602, 0x401C5820, 0x40806685)
"""FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC_ENABLE_VERITY: for a file open for reading, too."""
_AS_OWNER = 0o6000
"""S_ISUID and S_ISGID: whoever runs such a file is its owner, outside of the sandbox too."""
_MAKES_FILE = 0x400040
"""O_CREAT and what O_TMPFILE adds: only with these has a call that opens a mode."""
_KIND_OF_SOCKET, _BOUND_PAIRS = 0xF, (1, 5)
"""SOCK_STREAM and SOCK_SEQPACKET: a datagram socket of a pair can be connected anew, to whatever is outside."""
_FAMILIES = {"unix": 1, "inet": 2, "inet6": 10}
_KEEP_PERSONALITY = 0xFFFFFFFF
"""Asks, and changes nothing."""

# Of struct seccomp_data: where the number of the call, the machine and the low halves of the first arguments stand.
_NUMBER, _ARCH, _FIRST, _SECOND, _THIRD, _FOURTH = 0, 4, 16, 24, 32, 40
# Of bpf(4): load a word, compare, keep some bits, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KEEP_BITS = 0x54
_ALLOW, _KILL = 0x7FFF0000, 0x80000000


def build_filter(
    *,
    families: Iterable[str] = (),
    signals: bool = True,
    sessions: bool = True,
    metadata: bool = True,
    machine: str = "",
) -> bytes | None:
    """Return the filter as the kernel takes it (an array of `struct sock_filter`), None for an unknown machine.

    Args:
        families: what sockets may be made of: "unix", "inet", "inet6". A pair of connected sockets is always allowed,
            where it is none of "unix" only a pair that stays one.
        signals: whether signals may be sent, to whomever the kernel allows otherwise.
        sessions: whether a process may leave its group, beyond the reach of who ends the group.
        metadata: whether rights, owners, times and attributes of files may be changed. Never S_ISUID and S_ISGID.
        machine: as `platform.machine()` says it; this one if empty.
    """
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    column, arch = known
    families = tuple(families)
    table = _ALLOWED + _SIGNALS * signals + _SESSIONS * sessions + _METADATA * metadata
    refuse = _answer(errno.EPERM)
    program = [_load(_ARCH), _jump(_EQUAL, arch, over=1), (_RETURN, 0, 0, _KILL), _load(_NUMBER)]
    if column == 0:
        program += [_jump(_AT_LEAST, _X32, over=0, other=1), refuse]
    for number in sorted(_numbers(table, column).values()):
        program += [_jump(_EQUAL, number, over=0, other=1), (_RETURN, 0, 0, _ALLOW)]
    special = _numbers(_LOOKED_INTO, column)
    program += _on(special["clone3"], [_answer(errno.ENOSYS)])  # its flags lie in memory, where no filter can look
    program += _on(special["clone"], [_load(_FIRST), _jump(_ANY_BIT, _NEW_NAMESPACES, over=0, other=1), refuse, _PASS])
    refused = (*_TYPE_FOR_OTHERS, *_CHANGE_FLAGS)
    program += _on(special["ioctl"], [_load(_SECOND), *_unless(refused, refuse), _PASS])
    program += _on(special["openat2"], [_answer(errno.ENOSYS)])  # its mode lies in memory
    for name, flags, mode in (("open", _SECOND, _THIRD), ("openat", _THIRD, _FOURTH)):
        if name in special:
            made = [_load(flags), _jump(_ANY_BIT, _MAKES_FILE, over=1), _PASS]
            program += _on(special[name], [*made, *_not_as_owner(mode, refuse)])
    given = {"creat": _SECOND, "mknod": _SECOND, "mknodat": _THIRD}
    given |= {"chmod": _SECOND, "fchmod": _SECOND, "fchmodat": _THIRD, "fchmodat2": _THIRD} if metadata else {}
    for name, number in {**special, **_numbers(_MODES, column)}.items():
        if name in given:
            program += _on(number, _not_as_owner(given[name], refuse))
    kinds = (
        [_PASS]
        if "unix" in families
        else [_load(_SECOND), (_KEEP_BITS, 0, 0, _KIND_OF_SOCKET), *_unless(_BOUND_PAIRS, _PASS), refuse]
    )
    program += _on(special["socketpair"], kinds)
    program += _on(special["prlimit64"], [_load(_FIRST), *_unless([0], _PASS), refuse])  # of itself only
    program += _on(special["personality"], [_load(_FIRST), *_unless([_KEEP_PERSONALITY], _PASS), refuse])
    program += _on(special["socket"], [_load(_FIRST), *_unless([_FAMILIES[one] for one in families], _PASS), refuse])
    program += [_jump(_AT_LEAST, NEWEST_CALL + 1, over=0, other=1), _answer(errno.ENOSYS), refuse]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


Instruction = tuple[int, int, int, int]
_PASS: Instruction = (_RETURN, 0, 0, _ALLOW)


def _answer(number: int) -> Instruction:
    return (_RETURN, 0, 0, 0x00050000 | number)  # SECCOMP_RET_ERRNO


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _jump(kind: int, value: int, *, over: int, other: int = 0) -> Instruction:
    return (kind, over, other, value)


def _on(number: int, then: list[Instruction]) -> list[Instruction]:
    """Run `then`, which returns in every case, for one call."""
    return [_jump(_EQUAL, number, over=0, other=len(then)), *then]


def _not_as_owner(mode: int, refuse: Instruction) -> list[Instruction]:
    """Return, for a call whose argument is the mode of a file, unless it would run as its owner."""
    return [_load(mode), _jump(_ANY_BIT, _AS_OWNER, over=0, other=1), refuse, _PASS]


def _unless(values: Iterable[int], otherwise: Instruction) -> list[Instruction]:
    """Return early for any of the values that was loaded."""
    found: list[Instruction] = []
    for value in values:
        found += [_jump(_EQUAL, value, over=0, other=1), otherwise]
    return found


def _numbers(table: str, column: int) -> dict[str, int]:
    found = {}
    for entry in table.split():
        name, *numbers = entry.split(":")
        if numbers[column]:
            found[name] = int(numbers[column])
    return found
