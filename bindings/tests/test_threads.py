"""One object, many threads: one answer, and the interpreter goes on meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor

from openmls.client import Client
from openmls.delivery import PublicGroup
from service import let_in, start, three


def test_eight_threads_get_one_answer() -> None:
    service, _, [alice, _, _] = three()
    made = alice.commit(update=True)
    group = service.group()

    def process(_: int) -> PublicGroup:
        assert len(group.members()) == 3
        return group.process_commit(made.commit, group_info=made.group_info)[1]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(process, range(64)))
    assert all(result == results[0] for result in results)
    assert group == service.group()


def test_one_client_serves_many_threads() -> None:
    service, _, [alice, bob, _] = three()
    bodies = [b"%d" % number for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(alice.encrypt, bodies))
        read = list(pool.map(lambda message: bob.process(message).data, sent))
    assert read == bodies
    assert service.group().epoch == 1


def test_the_interpreter_runs_while_a_tree_is_verified() -> None:
    service, _, alice = start()
    let_in(service, alice, *(b"%d" % number for number in range(60)))
    bundle = alice.commit(add=[Client(b"%d" % number).key_packages(1)[0] for number in range(300)])
    service.commit(bundle)
    ticks, done = 0, threading.Event()

    def verify() -> None:
        service.group(verify=True)
        done.set()

    worker = threading.Thread(target=verify)
    worker.start()
    while not done.is_set():
        ticks += 1
    worker.join()
    assert ticks > 100
