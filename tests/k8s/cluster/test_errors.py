"""Checks that a failed request to the cluster gives one line that says what to do."""

import json
import socket

import pytest
from small_objects import job

from beam_prep.console.errors import RunError, UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NotAllowed, NotThere, NotTrusted, Unreachable, translate_errors
from k8s.cluster.kinds import KINDS
from k8s.cluster.kubeconfig import connect
from k8s.cluster.submit import submit


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
    ):
        (tmp_path / "config").write_text(text)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        with pytest.raises(UsageError, match="found no cluster") as caught:
            connect()
        assert "\n" not in str(caught.value)


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


def test_a_cluster_that_does_not_answer(tmp_path, server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))
    with pytest.raises(
        Unreachable, match=r"the cluster at http://127.0.0.1:\d+ does not answer: Connection refused; is it"
    ):
        connect().objects("train")


def test_a_cluster_that_is_no_tls_server(tmp_path, server, monkeypatch):
    server.url = server.url.replace("http://", "https://")
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))
    with pytest.raises(Unreachable, match="does not answer: ") as caught:
        connect().objects("train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("verb", ["create", "list"])
def test_what_is_forbidden_names_verb_kind_namespace_and_user(server, cluster, verb):
    server.forbidden.add((verb, "jobs"))
    said = f"can't {verb} jobs.batch.* in namespace team: user ada may not {verb} jobs; ask for a Role with this verb"
    with pytest.raises(NotAllowed, match=said):
        submit(cluster, [job()])


def test_a_namespace_that_is_not_there(cluster):
    cluster.namespace = "tema"
    with pytest.raises(NotThere, match="there is no namespace tema; create it: kubectl create namespace tema"):
        submit(cluster, [job()])


def test_answers_that_ask_for_another_try_are_told_apart(server, cluster):
    server.unavailable = 10
    with pytest.raises(Unreachable, match=r"answers 503: .*; try again"):
        cluster.find(KINDS["Job"])


def test_what_the_admission_refuses_is_told_as_it_says_it(server, cluster):
    server.quotas["jobs"] = 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
    with pytest.raises(NotAllowed, match='is forbidden: violates PodSecurity "restricted:latest"'):
        submit(cluster, [job()])


def test_every_error_is_a_line_for_a_user(server, cluster: Cluster):
    server.quotas["jobs"] = "exceeded quota:\n  gpus,\n requested 8"
    with pytest.raises(RunError) as caught:
        submit(cluster, [job()])
    assert "\n" not in str(caught.value)


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


def test_a_request_without_credentials(server, cluster):
    """The real server takes it for one of a user without any right."""
    server.forbidden |= {
        ("list", plural) for plural in ("jobs", "jobsets", "deployments", "services", "networkpolicies")
    }
    server.user = "system:anonymous"
    with pytest.raises(NotAllowed, match=r"the request had no credentials \(403\); log in again"):
        cluster.objects("train")


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


def test_a_certificate_that_is_not_trusted():
    from urllib3 import HTTPSConnectionPool
    from urllib3.exceptions import MaxRetryError, SSLError

    why = SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)")
    said = "the certificate of https://c is not trusted: self-signed certificate; the kubeconfig is of another"
    with pytest.raises(NotTrusted, match=said), translate_errors("list jobs", "https://c", set()):
        raise MaxRetryError(HTTPSConnectionPool("c"), "/", why)
