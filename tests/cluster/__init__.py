"""The Kubernetes that the demo and the tests run on, made of Go modules and Debian packages.

Everything of one cluster lives in a network namespace without a default route, in a PID and a
mount namespace per tier, below one state directory and one control group.  All names come from
the path of the checkout, so clusters of two checkouts stand side by side.

==============  ==========================================================================
layout          names, addresses, ports and paths: what the others agree on
cache           directories outside the checkout, keyed by what went into them
packages        Debian packages that cluster, image builds and tests need
programs        Go programs of ``modules/``, built once
images          OCI archives: written, read, imported into containerd
certificates    one authority per tier, and the kubeconfigs made from it
namespace       network namespace, bridge, routes, firewall
supervisor      starting, recording, finding and killing a tier's process tree
init            process 1 of a tier: private mounts, start order, reaping
control_plane   etcd, API server and controller manager (both tiers)
node            containerd, kubelet, scheduler, kube-proxy
dns             CoreDNS
tiers           a tier from nothing to ready
teardown        everything of a cluster removed, whatever state it is in
connection      what a test needs to talk to a tier that is up
fixtures        the same as pytest fixtures
==============  ==========================================================================

Needs root and Python 3.11 or newer, nothing else: it runs before any virtual environment exists.
"""
