"""The client's requests, and what becomes of every kind of answer, seen by a server on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes import client

from mailfilter_operator.cluster import KubernetesCluster
from mailfilter_operator.errors import ClusterError

LIVE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "mx-metrics", "namespace": "mail", "uid": "u", "resourceVersion": "7"},
}
PATH = "/api/v1/namespaces/mail/configmaps/mx-metrics"
APPLY = {"fieldManager": "mailfilter-operator", "force": "true", "fieldValidation": "Strict"}
CREATE = {"fieldManager": "mailfilter-operator", "fieldValidation": "Strict"}


class Api:
    """A server that answers with `answer` and keeps the last request."""

    def __init__(self) -> None:
        self.answer: tuple[int, Any] = (200, LIVE)
        self.request: tuple[str, str, dict[str, str]] = ("", "", {})
        self.body: Any = None
        self.refuses_watch = False
        self.headers: dict[str, str] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        configuration = client.Configuration(host=f"http://127.0.0.1:{self.server.server_port}")
        configuration.retries = False
        self.cluster = KubernetesCluster(client.ApiClient(configuration))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                api.request, api.headers = (self.command, url.path, query), dict(self.headers)
                api.body = json.loads(body) if body else None
                status, content = api.answer
                if api.refuses_watch and "watch" in query:
                    status, content = 403, {"message": "because"}
                text = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - named by http.server

            def log_message(self, *_: Any) -> None:  # type: ignore[explicit-override]
                """Keep the test's output clean."""

        return Handler


@pytest.fixture
def api() -> Iterator[Api]:
    """Provide a server and a client of it."""
    made = Api()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_get_reads_one_object(api: Api) -> None:
    assert api.cluster.get("ConfigMap", "mail", "mx-metrics") == LIVE
    assert api.request == ("GET", PATH, {})
    assert api.headers["User-Agent"] == "mailfilter-operator"


def test_object_that_is_not_there_is_none(api: Api) -> None:
    api.answer = (404, {"message": "not found"})

    assert api.cluster.get("ConfigMap", "mail", "mx-metrics") is None


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("MailFilter", "/apis/mailfilter.dev/v1alpha1/namespaces/mail/mailfilters/x"),
        ("Deployment", "/apis/apps/v1/namespaces/mail/deployments/x"),
        ("Lease", "/apis/coordination.k8s.io/v1/namespaces/mail/leases/x"),
        ("Secret", "/api/v1/namespaces/mail/secrets/x"),
    ],
)
def test_every_kind_has_its_path(api: Api, kind: str, path: str) -> None:
    api.cluster.get(kind, "mail", "x")

    assert api.request == ("GET", path, {})


def test_items_of_a_list_say_what_they_are(api: Api) -> None:
    """The API server leaves kind and version out of them."""
    api.answer = (200, {"apiVersion": "v1", "kind": "ConfigMapList", "items": [{"metadata": LIVE["metadata"]}]})

    assert api.cluster.list_objects("ConfigMap", "mail", "a=b,c=d") == [LIVE]
    assert api.request == ("GET", PATH.rpartition("/")[0], {"labelSelector": "a=b,c=d"})
    api.answer = (200, {"apiVersion": "v1", "kind": "ConfigMapList", "items": None})
    assert api.cluster.list_objects("ConfigMap") == []
    assert api.request == ("GET", "/api/v1/configmaps", {})


def test_kind_is_listed_and_watched_for_a_second_to_see_whether_that_is_allowed(api: Api) -> None:
    api.answer = (200, b"")

    api.cluster.check_watch("ConfigMap")
    method, path, query = api.request
    assert (method, path, query["watch"], query["timeoutSeconds"]) == ("GET", "/api/v1/configmaps", "true", "1")
    assert query["labelSelector"].startswith("mailfilter.dev/")


def test_kind_that_may_not_be_watched_is_an_error(api: Api) -> None:
    api.refuses_watch = True

    with pytest.raises(ClusterError, match=r"^GET ConfigMap of all namespaces: the API server answered 403: because$"):
        api.cluster.check_watch("ConfigMap")
    assert api.request[2]["watch"] == "true"


@pytest.mark.parametrize(
    ("verb", "method", "path", "query", "kind"),
    [
        ("create", "POST", PATH.rpartition("/")[0], CREATE, "json"),
        ("apply", "PATCH", PATH, APPLY, "apply-patch+yaml"),
        ("apply_status", "PATCH", f"{PATH}/status", APPLY, "apply-patch+yaml"),
        ("replace", "PUT", PATH, CREATE, "json"),
    ],
)
def test_write_sends_the_object_strictly(
    api: Api, verb: str, method: str, path: str, query: dict[str, str], kind: str
) -> None:
    assert getattr(api.cluster, verb)(LIVE) == LIVE
    assert api.request == (method, path, query)
    assert (api.body, api.headers["Content-Type"]) == (LIVE, f"application/{kind}")


def test_patch_is_refused_if_the_object_has_changed(api: Api) -> None:
    removal = {"op": "remove", "path": "/data/x"}

    api.cluster.patch(LIVE, [removal])
    assert api.request == ("PATCH", PATH, {"fieldManager": "mailfilter-operator"})
    assert api.body == [{"op": "test", "path": "/metadata/resourceVersion", "value": "7"}, removal]
    assert api.headers["Content-Type"] == "application/json-patch+json"


@pytest.mark.parametrize("status", [200, 404, 409])
def test_exactly_the_object_that_was_seen_is_deleted(api: Api, status: int) -> None:
    api.answer = (status, {"message": "gone, or another one of the name"})

    api.cluster.delete(LIVE)
    assert api.request == ("DELETE", PATH, {})
    assert api.body == {"preconditions": {"uid": "u"}, "propagationPolicy": "Background"}


@pytest.mark.parametrize("status", [400, 403, 409, 422, 429, 500, 503])
def test_refusal_says_what_was_asked_and_what_came_back(api: Api, status: int) -> None:
    api.answer = (status, {"message": "because"})

    sentence = f"PATCH ConfigMap mail/mx-metrics: the API server answered {status}: because"
    with pytest.raises(ClusterError, match=f"^{sentence}$") as refusal:
        api.cluster.apply(LIVE)
    assert refusal.value.status == status
    for call in (lambda: api.cluster.get("ConfigMap", "mail", "x"), lambda: api.cluster.list_objects("ConfigMap")):
        with pytest.raises(ClusterError):
            call()
    if status != 409:
        with pytest.raises(ClusterError):
            api.cluster.delete(LIVE)


def test_server_that_is_not_there_is_an_error_of_ours(api: Api) -> None:
    configuration = client.Configuration(host="http://127.0.0.1:9")
    configuration.retries = False
    nowhere = KubernetesCluster(client.ApiClient(configuration))

    with pytest.raises(ClusterError, match="the API server did not answer") as error:
        nowhere.get("ConfigMap", "mail", "x")
    assert (error.value.status, api.request[0]) == (0, "")


@pytest.mark.parametrize("status", [200, 502])
def test_answer_of_a_proxy_in_between_is_an_error_of_ours(api: Api, status: int) -> None:
    api.answer = (status, b"<html>Bad gateway</html>")

    with pytest.raises(ClusterError, match=f"the API server answered {status}: not in JSON"):
        api.cluster.get("Lease", "mail", "x")


def test_empty_answer_is_an_empty_object(api: Api) -> None:
    api.answer = (200, b"")

    assert api.cluster.apply(LIVE) == {}
