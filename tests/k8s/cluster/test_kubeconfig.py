"""Checks which cluster a kubeconfig leads to, and that one that leads to none is told in a line."""

import json
import os
import warnings

import pytest

from beam_prep.console.errors import UsageError
from k8s.cluster.kubeconfig import connect


def test_no_kubeconfig_and_not_in_a_pod(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for context in (None, "test"):
        with pytest.raises(
            UsageError, match=r"found no cluster: .*absent: .*gcloud container clusters get-credentials"
        ):
            connect(context)


def test_a_kubeconfig_that_is_broken(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for text in (
        "{",
        "clusters: 3",
        "clusters: []\ncontexts: []\nusers: []",
        "contexts: null\nclusters: null\nusers: null",
        "",
        "some text",
        "- a list",
        "contexts: [{name: test}]",
        "\udcff",
        "token: [secret\nx: y",
    ):
        (tmp_path / "config").write_text(text, encoding="utf-8", errors="surrogateescape")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        with pytest.raises(UsageError, match="found no cluster") as caught:
            connect()
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)


def test_contexts_and_their_namespaces(server, cluster):
    assert (connect().namespace, connect("other").namespace, connect("other", "mine").namespace) == (
        "team",
        "elsewhere",
        "mine",
    )
    with pytest.raises(
        UsageError, match="--context prod: the kubeconfig has no such context; choose one by --context: other, test"
    ):
        connect("prod")


def test_in_a_pod_its_service_account_and_namespace_are_taken(server, tmp_path, monkeypatch):
    from kubernetes.config import incluster_config

    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name in ("token", "ca.crt", "namespace"):
        (tmp_path / name).write_text(f"some {name}\n")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr("k8s.cluster.kubeconfig.POD_NAMESPACE", tmp_path / "namespace")
    # The certificate is not valid, which the client notices only when it connects.
    monkeypatch.setattr(
        "kubernetes.client.ApiClient", lambda configuration: type("Api", (), {"configuration": configuration})
    )
    found = connect()
    assert (found.host, found.namespace) == ("https://10.0.0.1:443", "some namespace")


def with_user(server, path, **user):
    """Writes a kubeconfig whose user logs in otherwise than by a token."""
    content = json.loads(server.kubeconfig(path).read_text())
    content["users"][0]["user"] = user
    path.write_text(json.dumps(content))
    return path


def test_a_login_command_that_is_not_installed(server, tmp_path, monkeypatch):
    login = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin", "interactiveMode": "Never"}
    monkeypatch.setenv("KUBECONFIG", str(with_user(server, tmp_path / "config", exec=login)))
    with pytest.raises(UsageError, match=r"the login command of context test failed: .*no-such-plugin.*; log in, or"):
        connect()


@pytest.mark.parametrize("current", ["", "stale"])
def test_a_context_that_is_named_needs_no_current_one(server, tmp_path, monkeypatch, current):
    path = server.kubeconfig(tmp_path / "config")
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "current-context": current}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert connect("other").namespace == "elsewhere"
    with pytest.raises(
        UsageError, match=r"the current context of .* is (not set|stale); choose one by --context: other"
    ):
        connect()


def changed(api, path, **cluster):
    """Writes a kubeconfig whose cluster has other fields, and returns its path."""
    content = json.loads(api.kubeconfig(path).read_text())
    content["clusters"][0]["cluster"] |= cluster
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({"certificate-authority-data": "x"}, "context test of .* can't be used: "),
        ({"certificate-authority": "/no/such/ca.crt"}, "can't be used: File does not exist: /no/such/ca.crt"),
        ({"server": "c:6443"}, "its server is c:6443, expected https://HOST"),
        ({"proxy-url": "proxy:3128"}, "the proxy of HTTPS_PROXY, or of proxy-url in the kubeconfig, can't be used: "),
    ],
)
def test_a_part_of_a_kubeconfig_that_is_wrong_is_told(server, tmp_path, monkeypatch, cluster, said):
    server.url = server.url.replace("http://", "https://")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(changed(server, tmp_path / "config", **cluster)))
    with pytest.raises(UsageError, match=said) as caught:
        connect()
    assert "\n" not in str(caught.value)


def test_several_files_are_one_kubeconfig_and_empty_or_missing_ones_add_nothing(server, tmp_path, monkeypatch):
    whole = json.loads(server.kubeconfig(tmp_path / "whole").read_text())
    (tmp_path / "empty").write_text("")
    (tmp_path / "users").write_text(json.dumps({"users": whole.pop("users")}))
    (tmp_path / "rest").write_text(json.dumps(whole))
    files = [str(tmp_path / name) for name in ("empty", "absent", "users", "rest")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([*files, ""]))
    assert connect().objects("train") == []


def test_a_kubeconfig_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for place in (tmp_path, "~no-such-user/config"):  # a folder, and a home folder that nobody has
        monkeypatch.setenv("KUBECONFIG", str(place))
        with pytest.raises(
            UsageError, match=r"found no cluster: .* (can't be read: Is a directory|found no such file)"
        ):
            connect()


def test_an_empty_variable_means_the_kubeconfig_of_the_home_folder(server, tmp_path, monkeypatch):
    (tmp_path / ".kube").mkdir()
    server.kubeconfig(tmp_path / ".kube" / "config")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", "")
    assert connect().host == server.url


def test_a_login_command_that_fails_is_told_once_and_briefly(server, tmp_path, monkeypatch, caplog):
    script = "i=0; while [ $i -lt 200 ]; do echo log in first >&2; i=$((i + 1)); done; exit 1"
    login = {
        **{"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script]},
        **{"interactiveMode": "Never", "installHint": "Install it\nby hand"},
    }
    monkeypatch.setenv("KUBECONFIG", str(with_user(server, tmp_path / "config", exec=login)))
    with pytest.raises(UsageError, match=r"failed: exec: process returned 1. log in first log in") as caught:
        connect()
    assert str(caught.value).endswith("install the command that the kubeconfig names: Install it by hand")
    assert len(str(caught.value)) < 600
    assert caplog.records == []


def test_a_cluster_whose_certificate_is_not_to_be_checked_is_used_without_a_word(server, tmp_path, monkeypatch):
    from urllib3.exceptions import InsecureRequestWarning

    monkeypatch.setenv("KUBECONFIG", str(changed(server, tmp_path / "config", **{"insecure-skip-tls-verify": True})))
    with warnings.catch_warnings(record=True) as caught:
        connect()
        warnings.warn("unverified", InsecureRequestWarning, stacklevel=1)
    assert caught == []
