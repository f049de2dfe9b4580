"""Checks that a failed request to the cluster gives one line that says what to do."""

import json
import socket
import ssl

import pytest
from small_objects import job

from beam_prep.console.errors import RunError, UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NotAllowed, NotLoggedIn, NotThere, NotTrusted, Unreachable, translate_errors
from k8s.cluster.kinds import KINDS
from k8s.cluster.kubeconfig import connect
from k8s.cluster.submit import submit


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


def test_a_request_without_credentials(server, cluster):
    """The real server takes it for one of a user without any right."""
    server.forbidden |= {
        ("list", plural) for plural in ("jobs", "jobsets", "deployments", "services", "networkpolicies")
    }
    server.user = "system:anonymous"
    with pytest.raises(NotAllowed, match=r"the request had no credentials \(403\); log in again"):
        cluster.objects("train")


def test_a_certificate_that_is_not_trusted():
    from urllib3 import HTTPSConnectionPool
    from urllib3.exceptions import MaxRetryError, SSLError

    why = SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)")
    said = "the certificate of https://c is not trusted: self-signed certificate; the kubeconfig is of another"
    with pytest.raises(NotTrusted, match=said), translate_errors("list jobs", "https://c", set()):
        raise MaxRetryError(HTTPSConnectionPool("c"), "/", why)


@pytest.mark.parametrize(
    "why", ["[SSL] PEM lib (_ssl.c:3905)", "[X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate or crl found"]
)
def test_a_certificate_that_can_not_be_read(why):
    said = "a certificate or key that the kubeconfig names can't be read: "
    with pytest.raises(NotTrusted, match=said), translate_errors("list jobs", "https://c", set()):
        raise ssl.SSLError(why)


def test_a_proxy_that_does_not_answer_is_told():
    from urllib3 import HTTPSConnectionPool
    from urllib3.exceptions import MaxRetryError, ProxyError

    why = ProxyError("Unable to connect to proxy", OSError("[Errno 111] Connection refused"))
    said = "https://c, to which the proxy of HTTPS_PROXY .* leads, does not answer: Connection refused"
    with pytest.raises(Unreachable, match=said), translate_errors("list jobs", "https://c", set()):
        raise MaxRetryError(HTTPSConnectionPool("c"), "/", why)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "Client sent an HTTP request to an HTTPS server.\n",
            "can't list jobs: Client sent an HTTP request to an HTTPS server.",
        ),
        ("<html>Please log in</html>", "can't list jobs: Bad Request"),
    ],
)
def test_an_answer_that_is_not_of_the_api_is_told_as_far_as_it_says_something(body, said):
    from kubernetes.client.exceptions import ApiException

    refusal = ApiException(status=400, reason="Bad Request")
    refusal.body = body
    with pytest.raises(UsageError, match=f"{said}$"), translate_errors("list jobs", "https://c", set()):
        raise refusal


def test_a_server_that_is_no_api_server_is_told():
    said = "https://c answers, but not as an API server of Kubernetes does"
    with pytest.raises(UsageError, match=said), translate_errors("list jobs", "https://c", set()):
        json.loads("<html>")


def test_paths_that_are_refused_without_credentials_ask_to_log_in():
    from kubernetes.client.exceptions import ApiException

    refusal = ApiException(status=403)
    refusal.body = json.dumps({"message": 'forbidden: User "system:anonymous" cannot get path "/apis/"'})
    with pytest.raises(NotLoggedIn, match="log in again"), translate_errors("list the kinds", "https://c", set()):
        raise refusal


def test_a_connection_that_the_server_closes_is_told_shortly():
    from urllib3 import HTTPSConnectionPool
    from urllib3.exceptions import MaxRetryError, ProtocolError

    why = ProtocolError("Connection aborted.", ConnectionError("RemoteDisconnected('Remote end closed …')"))
    said = "does not answer: it closed the connection; "
    with pytest.raises(Unreachable, match=said), translate_errors("list jobs", "https://c", set()):
        raise MaxRetryError(HTTPSConnectionPool("c"), "/", why)
