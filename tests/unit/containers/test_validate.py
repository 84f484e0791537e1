"""Bad options and moby's texts for them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import InvalidArgument
from tests.unit.containers.test_options import create

BAD: list[tuple[dict[str, Any], str]] = [
    ({"WorkingDir": "relative"}, "the working directory 'relative' is invalid, it needs to be an absolute path"),
    ({"StopSignal": "SIGNOPE"}, "invalid signal: SIGNOPE"),
    ({"Env": ["=x"]}, "invalid environment variable: =x"),
    ({"Env": [""]}, "invalid environment variable: "),
    ({"Healthcheck": {"Interval": 10}}, "Interval in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"Timeout": -1}}, "Timeout in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"StartPeriod": 5}}, "StartPeriod in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"StartInterval": 5}}, "StartInterval in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"Retries": -1}}, "Retries in Healthcheck cannot be negative"),
    ({"ExposedPorts": {"abc/tcp": {}}}, 'invalid port specification: "abc/tcp"'),
    ({"ExposedPorts": {"80/icmp": {}}}, 'invalid port specification: "80/icmp"'),
    ({"ExposedPorts": {"70000": {}}}, 'invalid port specification: "70000"'),
    ({"Hostname": "x" * 65}, f"invalid hostname format: {'x' * 65}"),
    ({"Cmd": ["a\0b"]}, "a NUL byte is not allowed in the container's command"),
    ({"NetworkingConfig": {"EndpointsConfig": {"a": None}}}, "invalid config for network a: EndpointsConfig is nil"),
]

BAD_HOST: list[tuple[dict[str, Any], str]] = [
    ({"Isolation": "hyperv"}, "invalid isolation (hyperv): linux only supports 'default'"),
    (
        {"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
        "can't create 'AutoRemove' container with restart policy",
    ),
    ({"ExtraHosts": ["nohost"]}, 'bad format for add-host: "nohost"'),
    ({"ExtraHosts": ["a:1.2.3"]}, 'invalid IP address in add-host: "1.2.3"'),
    ({"Dns": ["one"]}, "one is not an ip address"),
    ({"PortBindings": {"80x/tcp": []}}, 'invalid port specification: "80x"'),
    ({"PortBindings": {"80/tcp": [{"HostPort": "9-8"}]}}, 'invalid port specification: "9-8"'),
    ({"PortBindings": {"80/tcp": [{"HostPort": "65536"}]}}, 'invalid port specification: "65536"'),
    ({"PortBindings": {"80/tcp": [{"HostIp": "nowhere"}]}}, "invalid IP address: nowhere"),
    (
        {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
        "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    ),
    (
        {"RestartPolicy": {"Name": "no", "MaximumRetryCount": -1}},
        "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
    ),
    (
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}},
        "invalid restart policy: maximum retry count cannot be negative",
    ),
    (
        {"RestartPolicy": {"Name": "sometimes"}},
        "invalid restart policy: unknown policy 'sometimes'; "
        "use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
    ),
    ({"CapAdd": ["fly"]}, 'invalid CapAdd: unknown capability: "CAP_FLY"'),
    ({"CapDrop": ["CAP_FLY"]}, 'invalid CapDrop: unknown capability: "CAP_FLY"'),
    (
        {"Annotations": {"": "x"}},
        "invalid Annotations: the empty string is not permitted as an annotation key",
    ),
    ({"Annotations": {"run.oci.seccomp_bpf_data": "x"}}, "annotation run.oci.seccomp_bpf_data is the engine's own"),
    ({"ShmSize": -1}, "SHM size can not be less than 0"),
    ({"OomScoreAdj": 1001}, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
    ({"DeviceCgroupRules": ["c 1:1"]}, "invalid device cgroup rule format: 'c 1:1'"),
    ({"Devices": [{"PathOnHost": "dev/x"}]}, "dev/x is not an absolute path"),
    ({"Devices": [{"PathOnHost": "/dev/null", "CgroupPermissions": "rx"}]}, "invalid device mode: rx"),
    ({"SecurityOpt": ["nonsense"]}, 'invalid --security-opt 1: "nonsense"'),
    ({"SecurityOpt": ["colour=red"]}, 'invalid --security-opt 2: "colour=red"'),
    ({"SecurityOpt": ["no-new-privileges=maybe"]}, 'invalid --security-opt 2: "no-new-privileges=maybe"'),
    ({"CgroupParent": "/a/../../b"}, "invalid cgroup parent: /a/../../b"),
    ({"IpcMode": "public"}, "invalid IPC mode: public"),
    ({"PidMode": "container:"}, "invalid PID mode: container:"),
    ({"UTSMode": "container:x"}, "invalid UTS mode: container:x"),
    ({"CgroupnsMode": "shared"}, "invalid cgroup namespace mode: shared"),
    ({"UsernsMode": "remap"}, "invalid userns mode: remap"),
    ({"NetworkMode": "container:"}, "invalid network mode: invalid container format container:<name|id>"),
    ({"NetworkMode": "container:x", "Dns": ["1.1.1.1"]}, "conflicting options: dns and the network mode"),
    (
        {"NetworkMode": "container:x", "ExtraHosts": ["a:1.1.1.1"]},
        "conflicting options: custom host-to-IP mapping and the network mode",
    ),
    (
        {"NetworkMode": "container:x", "PublishAllPorts": True},
        "conflicting options: port publishing and the container type network mode",
    ),
    (
        {"NetworkMode": "host", "Sysctls": {"net.ipv4.ip_forward": "1"}},
        'sysctl "net.ipv4.ip_forward" not allowed in host network namespace',
    ),
    ({"Sysctls": {"vm.swappiness": "1"}}, 'sysctl "vm.swappiness" is not in a separate kernel namespace'),
    (
        {"Sysctls": {"kernel.hostname": "x"}},
        'sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field',
    ),
    (
        {"IpcMode": "host", "Sysctls": {"fs.mqueue.msg_max": "1"}},
        'sysctl "fs.mqueue.msg_max" is not allowed in the hosts ipc namespace',
    ),
    (
        {"Sysctls": {"net.ipv6.conf.eth0.forwarding": "1"}},
        'interface specific sysctl setting "net.ipv6.conf.eth0.forwarding" must be supplied using driver option '
        "'com.docker.network.endpoint.sysctls'",
    ),
    ({"LogConfig": {"Type": "gelf"}}, "logger: no log driver named 'gelf' is registered"),
    ({"LogConfig": {"Config": {"colour": "red"}}}, "unknown log opt 'colour' for json-file log driver"),
    ({"LogConfig": {"Type": "local", "Config": {"tag": "x"}}}, "unknown log opt 'tag' for log driver local"),
    ({"LogConfig": {"Config": {"max-size": "ten"}}}, "invalid size: 'ten'"),
    ({"LogConfig": {"Config": {"max-size": "0"}}}, "max-size must be a positive number"),
    ({"LogConfig": {"Config": {"max-file": "0"}}}, "max-file cannot be less than 1"),
    ({"LogConfig": {"Config": {"max-file": "x"}}}, 'strconv.Atoi: parsing "x": invalid syntax'),
    ({"LogConfig": {"Config": {"mode": "fast"}}}, "logger: logging mode not supported: fast"),
    (
        {"LogConfig": {"Config": {"max-buffer-size": "1m"}}},
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    ),
    (
        {"LogConfig": {"Config": {"compress": "true"}}},
        "compress cannot be true when max-file is less than 2 or max-size is not set",
    ),
]


@pytest.mark.parametrize(("body", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_configuration(body: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        create(body)
    assert raised.value.message == text


@pytest.mark.parametrize(("host_config", "text"), BAD_HOST, ids=[text[:40] for _, text in BAD_HOST])
def test_bad_host_configuration(host_config: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        create({"HostConfig": host_config})
    assert raised.value.message == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"Hostname": "x", "HostConfig": {"UTSMode": "host"}}, "conflicting options: hostname and the UTS mode"),
        (
            {"Hostname": "x", "HostConfig": {"NetworkMode": "container:y"}},
            "conflicting options: hostname and the network mode",
        ),
        (
            {"ExposedPorts": {"80": {}}, "HostConfig": {"NetworkMode": "container:y"}},
            "conflicting options: port exposing and the container type network mode",
        ),
    ],
)
def test_options_that_contradict_each_other(body: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        create(body)
    assert raised.value.message == text


@pytest.mark.parametrize(
    "host_config",
    [
        {"CapAdd": ["ALL"], "CapDrop": ["NET_RAW", "cap_mknod"]},
        {"ExtraHosts": ["a:host-gateway", "b:::1"], "Dns": ["::1"]},
        {"PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}, {"HostIp": "::1", "HostPort": ""}], "53/udp": None}},
        {"DeviceCgroupRules": ["a *:* rwm", "c 10:200 r"]},
        {"SecurityOpt": ["no-new-privileges", "label=disable", "seccomp=unconfined", "apparmor=unconfined"]},
        {"SecurityOpt": ["label:type:svirt_t", "seccomp=builtin", "systempaths=unconfined"][:2]},
        {"LogConfig": {"Type": "none", "Config": {"anything": "goes"}}},
        {"LogConfig": {"Config": {"max-size": "10m", "max-file": "3", "labels": "a", "env": "B", "tag": "{{.ID}}"}}},
        {"LogConfig": {"Config": {"mode": "non-blocking", "max-buffer-size": "4m"}}},
        {"Sysctls": {"net.core.somaxconn": "1", "kernel.msgmax": "1", "fs.mqueue.msg_max": "1"}},
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}},
        {"UsernsMode": "host", "Isolation": "default", "VolumeDriver": "local"},
    ],
)
def test_good_host_configuration(host_config: dict[str, Any]) -> None:
    record, warnings = create({"HostConfig": host_config})
    assert warnings == []
    assert record.name == "box"
