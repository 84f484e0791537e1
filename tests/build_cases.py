"""Dockerfiles whose results are compared with what dockerd's classic builder makes of them.

Each has a name, its text, what is in its context, and further words for ``docker build``. The base ``base`` is busybox
with a user and a group of its own, links in its root and a folder of another owner.
"""

# ruff: noqa: E501 - a Dockerfile is read best on one line
from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field

FIXED_TIME = 1_500_000_000
IN_CI = 12


@dataclass(frozen=True)
class Case:
    """One Dockerfile. ``files`` are contents by path; a tuple is (content, mode); ``links`` are symbolic ones."""

    name: str
    text: str
    files: dict[str, str | bytes | tuple[str, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    fails: bool = False
    has_own_words: bool = False


def archive(files: dict[str, str], *, mode: str = "w", owner: int = 0) -> bytes:
    """Return a tar of some files and the folders above them."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mtime, member.uid, member.gid = FIXED_TIME, owner, owner
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o750
                tar.addfile(member)
                continue
            data = content.encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target.getvalue()


_TREE: dict[str, str | bytes | tuple[str, int]] = {
    "a.txt": "a", "b.txt": "b", "run.sh": ("#!/bin/sh\necho run\n", 0o755), "secret": ("s", 0o600),
    "dir/one": "1", "dir/two": "2", "dir/sub/three": "3", "dir/sub/.hidden": "h", "other/x.md": "x", "other/y.txt": "y",
}  # fmt: skip
_LINKS = {"link": "a.txt", "dir/up": "../a.txt", "dir/dangling": "nowhere", "folderlink": "dir"}

CASES: tuple[Case, ...] = (
    Case("everything", "FROM base\nENV A=1 B='two words'\nRUN echo hi > /hi && mkdir -p /var/x\nCOPY . /src/\n"
         'WORKDIR /src/dir\nEXPOSE 80 53/udp\nLABEL a=b\nUSER app\nCMD ["sh"]\n', _TREE, _LINKS),
    Case("copy-file", "FROM base\nCOPY a.txt /\nCOPY a.txt /new\nCOPY a.txt /new2/\nCOPY a.txt dest/\n", _TREE),
    Case("copy-folder", "FROM base\nCOPY dir /d\nCOPY dir /d2/\nCOPY dir/ /d\n", _TREE, _LINKS),
    Case("run-config", "FROM base\nENV X=y\nUSER app\nWORKDIR /tmp\nRUN id > who; pwd > where; echo $X > x\n"),
    Case("arg-scopes", "ARG TAG=latest\nARG G=global\nFROM base:$TAG\nARG G\nARG L=local\nARG O\nENV G2=$G L2=$L O2=$O\n"
         "RUN echo $G $L $O > /args\n", words=("--build-arg", "O=given", "--build-arg", "L=changed")),
    Case("multi-stage", "FROM base AS one\nRUN mkdir /out && echo built > /out/f && chown 5:6 /out/f && ln -s f /out/l\n"
         "FROM base\nCOPY --from=one /out /got\nCOPY --from=0 /out/f /\n"),
    Case("shell-forms", 'FROM base\nSHELL ["/bin/sh", "-ec"]\nRUN echo a > /a\nCMD echo x\nENTRYPOINT exec top\n'),
    Case("health", "FROM base\nHEALTHCHECK --interval=5m --timeout=3s --retries=2 CMD wget -q http://localhost/\n"),
    Case("add-archive", "FROM base\nADD a.tar /t/\nADD b.tar.gz /t\nADD plain.txt /t/\n",
         {"a.tar": archive({"top/": "", "top/f": "1", "lib/x": "2"}, owner=7),
          "b.tar.gz": archive({"z": "3"}, mode="w:gz"), "plain.txt": "p"}),
    Case("chown", "FROM base\nCOPY --chown=app:staff a.txt /a\nCOPY --chown=5:6 dir /d\nCOPY --chown=app:staff dir /n/m/\n",
         _TREE),
    Case("volume", 'FROM base\nRUN mkdir -p /data && echo x > /data/x\nVOLUME /data "/more"\nVOLUME ["/a b"]\n'),
    Case("fails", "FROM base\nRUN echo out; exit 3\n", fails=True),
    Case("onbuild-keep", "FROM base\nONBUILD COPY . /app\nONBUILD RUN echo built\n"),
    Case("globs", "FROM base\nCOPY *.txt /t/\nCOPY d*/o* dir/[st]* /g/\nCOPY othe? /o/\n", _TREE),
    Case("link-sources", "FROM base\nCOPY link /copied\nCOPY folderlink /folder\nCOPY dir/up /up\n", _TREE, _LINKS),
    Case("link-destinations", "FROM base\nCOPY a.txt /linked/\nCOPY dir /linked\nCOPY a.txt /abs/b\nCOPY b.txt /tofile\n",
         _TREE),
    Case("replace", "FROM base\nCOPY a.txt /etc/passwd\nCOPY dir/one /rep\nCOPY b.txt /rep\nCOPY dir /etc\n", _TREE),
    Case("modes", "FROM base\nCOPY run.sh secret /x/\nRUN /x/run.sh > /out\n", _TREE),
    Case("delete", "FROM base\nRUN rm -r /owned /etc/group\nRUN mkdir /owned && echo n > /owned/n\n"),
    Case("env-forms", 'FROM base\nENV OLD some  value\nENV A=a\\ b C="d e" D=\'$A\' E="$A"\nENV F=${A:-x}${Z:-z}${Z:+n}\n'
         "RUN env | grep -v HOSTNAME | sort > /env\n"),
    Case("labels", "FROM base\nLABEL x=1 y=\"two words\"\nLABEL z.a='q'\n", words=("--label", "given=1", "--label", "b=2")),
    Case("expose", "FROM base\nEXPOSE 80 443/tcp 8000-8002 53/udp\nENV P=99\nEXPOSE $P\n"),
    Case("user-forms", "FROM base\nUSER 1234\nRUN id > /tmp/1\nUSER app:staff\nRUN id > /tmp/2\nUSER 0\n"),
    Case("workdirs", "FROM base\nWORKDIR /a\nWORKDIR b\nWORKDIR ../c\nENV D=/dd\nWORKDIR $D/e\nWORKDIR /etc\n"),
    Case("workdir-as-user", "FROM base\nUSER app\nWORKDIR /made/by\nRUN true\nCOPY a.txt .\n", _TREE),
    Case("cmd-entrypoint", 'FROM base\nCMD ["old"]\nENTRYPOINT ["e"]\n'),
    Case("entrypoint-cmd", 'FROM base\nENTRYPOINT ["e"]\nCMD ["a", "b"]\n'),
    Case("stopsignal", "FROM base\nENV S=SIGQUIT\nSTOPSIGNAL $S\n"),
    Case("maintainer", "FROM base\nMAINTAINER Some One <a@b>\nRUN true\n"),
    Case("empty-run", "FROM base\nRUN true\nRUN echo > /dev/null\n"),
    Case("health-none", "FROM base\nHEALTHCHECK CMD x\nHEALTHCHECK NONE\n"),
    Case("health-json", 'FROM base\nHEALTHCHECK --start-period=1m30s CMD ["a", "b c"]\n'),
    Case("scratch", "FROM scratch\nCOPY a.txt /\nENV A=b\n", _TREE),
    Case("scratch-add", "FROM scratch\nADD root.tar /\n", {"root.tar": archive({"bin/": "", "bin/x": "1"}, owner=3)}),
    Case("three-stages", "FROM base AS a\nRUN echo a > /a\nFROM a AS b\nRUN echo b > /b\nFROM base\nCOPY --from=b /a /b /ab/\n"),
    Case("target", "FROM base AS a\nRUN echo a > /a\nFROM base AS b\nRUN exit 1\n", words=("--target", "a")),
    Case("from-image", "FROM scratch\nCOPY --from=base /etc/passwd /p\nCOPY --from=base /owned /o/\n"),
    Case("ignore", "FROM base\nCOPY . /c\n", {**_TREE, ".dockerignore": "*.txt\n!b.txt\ndir/sub\n**/*.md\n"}),
    Case("ignore-dockerfile", "FROM base\nCOPY . /c\n", {**_TREE, ".dockerignore": "Dockerfile\n.dockerignore\n"}),
    Case("hard-links", "FROM base\nRUN echo x > /one && ln /one /two && mkdir /h && ln /one /h/three\n"),
    Case("special-files", "FROM base\nRUN mkfifo /pipe && mknod /dev0 c 1 3 && chmod 6755 /bin/busybox\n"),
    Case("long-names", "FROM base\nRUN mkdir -p /" + "l" * 120 + "/" + "m" * 120 + " && echo > /" + "l" * 120 + "/n\n"),
    Case("unicode", 'FROM base\nENV Ü=ü\nRUN echo "grün" > /grün\nCOPY ["ä ö", "/ß/"]\nLABEL "ключ"="значение"\n', {"ä ö": "x"}),
    Case("continuation", "FROM base\nRUN echo a \\\n  # comment\n  && echo b \\\n\n  > /ab\n"),
    Case("many-env", "FROM base\n" + "".join(f"ENV V{n}={n}\n" for n in range(12))),
    Case("copy-dot", "FROM base\nWORKDIR /w\nCOPY . .\nCOPY a.txt ./\nCOPY a.txt ./new/name\n", _TREE, _LINKS),
    Case("copy-json", 'FROM base\nCOPY ["a.txt", "b.txt", "/j s/"]\n', _TREE),
    Case("from-args", "ARG B=base\nARG V\nFROM ${B}:${V:-latest}\nRUN echo $B > /b\n"),
    Case("proxy", "FROM base\nRUN env | grep -i proxy | sort > /p\n", words=("--build-arg", "http_proxy=http://p:1")),
    Case("unused-arg", "FROM base\nRUN true\n", words=("--build-arg", "NOBODY=1")),
    Case("quiet", "FROM base\nRUN echo hi > /hi\n", words=("-q",)),
    Case("stderr", "FROM base\nRUN echo out; sleep 1; echo err >&2; echo more > /m\n"),
    Case("sticky", "FROM base\nRUN mkdir /s && chmod 1777 /s && mkdir /g && chmod 2775 /g && chgrp staff /g\nCOPY a.txt /g/\n",
         _TREE),
    Case("opaque", "FROM base\nRUN mkdir -p /o/p && echo 1 > /o/p/1\nRUN rm -r /o && mkdir -p /o/p && echo 2 > /o/p/2\n"),
    Case("file-to-folder", "FROM base\nRUN echo x > /ff\nRUN rm /ff && mkdir /ff && echo y > /ff/y\n"),
    Case("extra-host", "FROM base\nRUN grep thehost /etc/hosts > /h\n", words=("--add-host", "thehost:10.1.2.3")),
    Case("json-run", 'FROM base\nRUN ["/bin/sh", "-c", "echo json > /json"]\nRUN ["touch", "/a b"]\n'),
    Case("missing-source", "FROM base\nCOPY nothing /\n", fails=True),
    Case("missing-stage-index", "FROM base\nCOPY --from=7 /a /\n", fails=True),
    Case("bad-user", "FROM base\nUSER nobodyhere\nRUN true\n", fails=True),
    Case("many-sources-no-slash", "FROM base\nCOPY a.txt b.txt /x\n", _TREE, fails=True),
    Case("unknown-instruction", "FROM base\nRUNN true\n", fails=True, has_own_words=True),
    Case("no-such-command", 'FROM base\nRUN ["/nothing/here"]\n', fails=True, has_own_words=True),
    Case("dockerfile-name", "FROM base\nRUN echo default\n", {"sub/Other": "FROM base\nRUN echo other > /o\n"},
         words=("-f", "sub/Other")),
)  # fmt: skip
