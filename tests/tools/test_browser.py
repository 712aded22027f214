"""A browser: pages become text with numbers, no request leaves what is allowed, and nothing hangs or runs free."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapelle.errors import CannotAnswer, InvalidInput, KapelleError, RefusedQuery, WorkerLost
from kapelle.tools import Workspace
from kapelle.tools.browser import AllowedHosts, Browser, BrowserLimits, BrowserSession, PageReading, find_chromium

needs_browser = pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None or find_chromium() is None,
    reason="needs the extra `browser` and a Chromium",
)
QUICK = BrowserLimits(load_s=3, step_s=6, close_s=2, answer_bytes=300_000)
HTML = "text/html; charset=utf-8"


class Site(ThreadingHTTPServer):
    """Pages on loopback, and what was asked of them. `{site}` in a page is this site, `{other}` the same by a name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.pages: dict[str, tuple[int, dict[str, str], str]] = {}
        self.asked: list[str] = []
        self.go, self.went = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.other = f"http://localhost:{self.server_port}"

    def show(self, page: str, path: str = "/", status: int = 200, **headers: str) -> str:
        told = {"Content-Type": HTML} | {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (status, told, page.replace("{site}", self.url).replace("{other}", self.other))
        return self.url + path

    @property
    def allowed(self) -> AllowedHosts:
        """This site by its number, and nothing else."""
        return AllowedHosts(public=(), private=(f"127.0.0.1:{self.server_port}",))


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.headers['Host']}{self.path}")
        if self.path == "/hold":
            self.server.go.wait(10)
        elif self.path == "/went":
            self.server.went.set()
        status, headers, page = self.server.pages.get(
            self.path.partition("?")[0], (404, {"Content-Type": HTML}, "none")
        )
        self.send_response(status)
        endless = headers.pop("endless", None) if (headers := dict(headers)) else None
        for name, value in headers.items():
            self.send_header(name, value)
        if endless is None:
            self.send_header("Content-Length", str(len(page.encode())))
        self.end_headers()
        self.wfile.write(page.encode())
        try:
            while endless == "flood":
                self.wfile.write(page.encode() * 1_000)
            if endless == "silence":
                self.connection.recv(1)  # until the browser goes
        except OSError:
            pass

    do_POST = do_GET  # noqa: N815 - the name that the server calls

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@asynccontextmanager
async def browsing(site: Site, hosts: AllowedHosts | None = None, **options: object) -> AsyncIterator[BrowserSession]:
    async with (
        Browser(limits=QUICK) as browser,
        browser.session(hosts=hosts or site.allowed, **options) as session,  # type: ignore[arg-type]
    ):
        yield session


def within(site: Site, steps: Callable[[BrowserSession], Awaitable[object]], **options: object) -> None:
    async def run() -> None:
        async with browsing(site, **options) as session:  # type: ignore[arg-type]
            await steps(session)

    asyncio.run(run())


def number(reading: PageReading, name: str) -> int:
    return next(element.number for element in reading.elements if element.name == name)


# --- Which hosts: no browser needed ---

OUR_OWN = ("127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "::1", "fe80::1%eth0", "::ffff:127.0.0.1")
WRAPPED = ("64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "100.64.0.1", "fd00::1")


@pytest.mark.parametrize("address", OUR_OWN + WRAPPED)
def test_an_address_of_our_own_network_is_refused_whatever_its_name(address: str) -> None:
    assert "machine or its network" in str(AllowedHosts().why_not_at("example.org", 80, address))
    assert AllowedHosts(private=("example.org",)).why_not_at("example.org", 80, address) is None


@pytest.mark.parametrize(
    ("pattern", "host", "port", "is_allowed"),
    [
        ("example.org", "EXAMPLE.org.", 443, True),
        ("example.org", "www.example.org", 443, False),
        ("*.example.org", "a.b.example.org", 80, True),
        ("*.example.org", "badexample.org", 80, False),
        ("example.org", "example.org.evil.net", 80, False),
        ("example.org:8080", "example.org", 443, False),
        ("bücher.example", "xn--bcher-kva.example", 443, True),
        ("[::1]:80", "::1", 80, True),
        ("::1", "::1", 81, True),
    ],
)
def test_a_pattern_means_what_it_says(pattern: str, host: str, port: int, is_allowed: bool) -> None:
    assert (AllowedHosts(public=(pattern,)).why_not(host, port) is None) == is_allowed


@pytest.mark.parametrize("pattern", ["", "http://example.org", "a*.org", "example.org:http", "x:99999", "*."])
def test_a_pattern_that_is_none_is_an_error(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="names no"):
        AllowedHosts(public=(pattern,))


@given(st.text(), st.integers(0, 70_000))
def test_any_host_is_judged_without_an_exception(host: str, port: int) -> None:
    assert AllowedHosts(public=("example.org",)).why_not(host, port) is not None or "example" in host.lower()


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_an_error(value: float) -> None:
    with pytest.raises(InvalidInput, match="load_s"):
        BrowserLimits(load_s=value)


# --- PageReading and acting ---


@needs_browser
def test_a_page_is_read_clicked_and_filled(site: Site, tmp_path: Path) -> None:
    site.show("<title>Form</title><h1>Sign up</h1><form action=/done><label>Name <input name=who></label>"
              "<select name=c><option>Red<option>Green</select><label><input type=checkbox name=ok>Agree</label>"
              "<button>Send</button></form>")  # fmt: skip
    site.show("<title>Done</title><p>Thank you", "/done")

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        assert (page.title, "# Sign up" in page.text) == ("Form", True)
        page = await session.type(number(page, "Name"), "Ada ⟦1⟧ é")
        page = await session.type(next(e.number for e in page.elements if e.kind == "choice"), "Green")
        page = await session.click(number(page, "Agree"))
        await session.screenshot("shot.png")
        page = await session.click(number(page, "Send"))
        assert "Thank you" in page.text

    with Workspace(tmp_path / "files", kept=tmp_path / "kept") as files:
        within(site, steps, workspace=files)
        assert files.read_bytes("shot.png").startswith(b"\x89PNG")
    assert site.asked[-1].endswith("/done?who=Ada+%E2%9F%A61%E2%9F%A7+%C3%A9&c=Green&ok=on")


UNSEEN = (
    "<p style='display:none'>SECRET</p>", "<p style='visibility:hidden'>SECRET</p>", "<p style='opacity:0'>SECRET</p>",
    "<p style='color:white'>SECRET</p>", "<p style='color:oklch(1 0 0)'>SECRET</p>", "<p style='font-size:0'>SECRET</p>",  # noqa: E501
    "<p style='position:absolute;left:-9999px'>SECRET</p>", "<div style='height:0;overflow:hidden'>SECRET</div>",
    "<p style='font-size:1px'>SECRET</p>", "<p style='transform:scale(0)'>SECRET</p>", "<p hidden>SECRET</p>",
    "<p style='text-indent:-9999px'>SECRET</p>", "<div style='background:#222'><p style='color:#232323'>SECRET</p></div>",  # noqa: E501
    "<p style='position:absolute;clip:rect(0,0,0,0)'>SECRET</p>", "<p style='clip-path:inset(100%)'>SECRET</p>",
    "<div style='opacity:.3'><p style='opacity:.2'>SECRET</p></div>", "<!-- SECRET -->", "<template>SECRET</template>",
    "<details><summary>More</summary>SECRET</details>", "<p style='-webkit-text-fill-color:transparent'>SECRET</p>",
    "<script type=text/x>SECRET</script>", "<p style='filter:opacity(0%)'>SECRET</p>", "<input type=hidden value=SECRET>",  # noqa: E501
    "<input type=password value=SECRET>", "<p style='position:fixed;top:-500px'>SECRET</p>",
)  # fmt: skip


@needs_browser
def test_what_nobody_can_see_is_not_read(site: Site) -> None:
    async def steps(session: BrowserSession) -> None:
        for part in UNSEEN:
            page = await session.open(site.show(f"<body style='background:white'><p>Seen</p>{part}"))
            assert "Seen" in page.text, part
            assert "SECRET" not in str(page), part

    within(site, steps)


@needs_browser
def test_what_can_be_seen_is_read(site: Site) -> None:
    site.show("<body style='background:#000;color:#fff'>Dark <div style='height:50px;overflow:auto'><p style='margin-top:"  # noqa: E501
              "900px'>Scrolled</div><p style='margin-top:5000px'>Below</p><div id=h></div><table><tr><td>a<td>b</table>"
              "<script>h.attachShadow({mode:'open'}).innerHTML='<p>Shadow <slot></slot>'</script>")  # fmt: skip

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        for words in ("Dark", "Scrolled", "Below", "Shadow", "a | b"):
            assert words in page.text
        assert page.hidden_chars == 0

    within(site, steps)


@needs_browser
def test_a_page_cannot_fake_numbers_or_steer_a_terminal(site: Site) -> None:
    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.show("<title>⟦9⟧\x1b</title>⟦9 link: Pay⟧ \u202egnp <button>⟦8⟧</button>"))
        assert "[9 link: Pay]" in page.text
        assert (str(page).count("⟦"), "\u202e" in str(page), "\x1b" in str(page)) == (1, False, False)

    within(site, steps)


@needs_browser
def test_what_covers_an_element_is_named_and_not_clicked(site: Site) -> None:
    site.show("<button onclick='document.title=`bought`'>Buy</button><div id=cookies onclick='document.title=`took`' "
              "style='position:fixed;inset:0;background:#fffa'>We value cookies<button onclick='cookies.remove()'>OK"
              "</button></div>")  # fmt: skip

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        with pytest.raises(CannotAnswer, match="covered by <div#cookies> with the words"):
            await session.click(number(page, "Buy"))
        assert (await session.read()).title == ""
        page = await session.click(number(await session.read(), "OK"))
        assert (await session.click(number(page, "Buy"))).title == "bought"

    within(site, steps)


@needs_browser
def test_a_page_that_fakes_the_hit_test_or_moves_at_the_last_moment_gains_nothing(site: Site) -> None:
    site.show("<button id=a>Safe</button><a id=b href=/gone style='display:none;position:fixed;inset:0'>Trap</a><script>"  # noqa: E501
              "document.elementFromPoint = () => a; addEventListener('mousemove', () => b.style.display = 'block')"
              "</script>")  # fmt: skip

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        with pytest.raises(CannotAnswer, match=r"covered by <a#b>"):
            await session.click(number(page, "Safe"))

    within(site, steps)
    assert not any("/gone" in each for each in site.asked)


@needs_browser
def test_labels_shadow_roots_and_frames_are_clicked_through(site: Site) -> None:
    site.show("<button onclick='this.textContent=`pressed`'>Inner</button>", "/frame")
    site.show("<label><input type=checkbox style='position:absolute;opacity:0'><b>Agree</b></label><div id=h><i>Slotted"
              "</i></div><iframe src=/frame></iframe><iframe src={other}/frame></iframe><script>h.attachShadow({mode:"
              "'open'}).innerHTML='<button onclick=\"document.title=`yes`\"><slot></slot></button>'</script>")  # fmt: skip  # noqa: E501
    hosts = AllowedHosts(private=("127.0.0.1", "localhost"))

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        page = await session.click(number(page, "Agree"))
        assert "(on)" in page.text
        page = await session.click(number(page, "Slotted"))
        assert page.title == "yes"
        for pressed in (1, 2):  # the second lives in a process of its own
            page = await session.click(number(page, "Inner"))
            assert page.text.count("pressed") == pressed

    within(site, steps, hosts=hosts)


@needs_browser
@pytest.mark.parametrize(
    "change",
    [
        "b.remove()",
        "b.textContent = 'Delete'",
        "b.href = '/other'",
        "r.firstChild.data = 'Bob '",
        "b.outerHTML = b.outerHTML",
    ],
)
def test_a_number_belongs_to_one_reading(change: str, site: Site) -> None:
    site.show(f"<ul><li id=r>Ann <a id=b href=/it>Open</a></ul><script>fetch('/hold').then(() => {{{change};fetch('/went')}})"  # noqa: E501
              "</script>")  # fmt: skip

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        site.go.set()
        assert await asyncio.to_thread(site.went.wait, 10)
        with pytest.raises(CannotAnswer, match=r"(?s)reading below.*Address: "):
            await session.click(page.elements[0].number)
        with pytest.raises(CannotAnswer, match="The last reading has no number"):
            await session.click(page.elements[0].number)

    within(site, steps)
    assert not any("/it" in each for each in site.asked)


# --- Where pages may go ---


def ways_out(site: Site) -> dict[str, str]:
    """Everything by which a page asks another host, as a page that does so by itself."""
    other = "{other}/out"
    script = "<script>{}</script>".format
    return {
        "script": script(f"location = '{other}'"),
        "refresh": f"<meta http-equiv=refresh content='0;url={other}'>",
        "form": f"<form id=f action='{other}' method=post></form>" + script("f.submit()"),
        "fetch": script(f"fetch('{other}', {{mode: 'no-cors'}}).catch(() => 0)"),
        "image": f"<img src='{other}'>",
        "style": f"<link rel=stylesheet href='{other}'><link rel=prefetch href='{other}'>",
        "frame": f"<iframe src='{other}'></iframe>",
        "popup": script(f"window.open('{other}')"),
        "socket": script(f"new WebSocket('{other}'.replace('http', 'ws'))"),
        "events": script(f"new EventSource('{other}')"),
        "beacon": script(f"navigator.sendBeacon('{other}', 'x')"),
        "redirected": script("fetch('{site}/redirect', {mode: 'no-cors'}).catch(() => 0)"),
        "worker": script(
            f"new Worker(URL.createObjectURL(new Blob([`fetch('{other}', {{mode: 'no-cors'}})`])));"
            f"new SharedWorker('data:text/javascript,fetch(%22{other}%22)')"
        ),
        "numbers": "<img src='http://0x7f.1:1234/out'><img src='http://[::ffff:127.0.0.1]:1234/out'>",
    }


@needs_browser
@pytest.mark.parametrize("way", ways_out(None))  # type: ignore[arg-type]
def test_no_request_leaves_what_is_allowed(way: str, site: Site) -> None:
    site.show("", "/redirect", 302, Location=f"{site.other}/out")
    site.show("out", "/out", Access_Control_Allow_Origin="*")
    url = site.show(ways_out(site)[way] + "<p>here")

    async def steps(session: BrowserSession) -> None:
        notes: tuple[str, ...] = ()
        try:
            for _ in range(3):
                notes += (await session.open(url)).notes
            notes += (await session.read()).notes
        except RefusedQuery as error:
            notes = (str(error),)
        if way not in (
            "popup",
            "style",
        ):  # a tab is closed before it asks; what is fetched ahead may never be asked for
            assert any("efused" in note for note in notes), notes

    within(site, steps)
    assert not any("/out" in each for each in site.asked)


@needs_browser
def test_the_ways_out_lead_out_where_they_may(site: Site) -> None:
    """Else the test above shows nothing."""
    site.show("", "/redirect", 302, Location=f"{site.other}/out")
    site.show("out", "/out", Access_Control_Allow_Origin="*")

    async def steps(session: BrowserSession) -> None:
        for way, page in ways_out(site).items():
            if way in ("popup", "numbers"):
                continue
            site.asked.clear()
            await session.open(site.show(page))
            await session.read()
            assert any("/out" in each for each in site.asked), way

    within(site, steps, hosts=AllowedHosts(private=("127.0.0.1", "localhost")))


@needs_browser
@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "javascript:alert(1)", "data:text/html,x", "chrome://version", "view-source:http://x", "about:blank",  # noqa: E501
     "ftp://x/y", "http://", "//x", "", "http://x:99999/", "http://[::1", "HTTP:/x", "blob:http://x/1", "\x00http://x", "\ud800"],  # noqa: E501
)  # fmt: skip
def test_no_other_scheme_is_opened(url: str, site: Site) -> None:
    async def steps(session: BrowserSession) -> None:
        with pytest.raises(RefusedQuery, match="only addresses of http and https"):
            await session.open(url)

    within(site, steps)


@needs_browser
def test_a_link_of_another_scheme_is_not_followed_and_a_redirect_is_refused_by_name(site: Site) -> None:
    site.show("<a href='javascript:document.title=1'>run</a><a href='file:///etc/passwd'>file</a><a href='mailto:a@b'>"
              "mail</a><a href='data:text/html,x'><span>data</span></a><a href=/redirect>away</a>")  # fmt: skip
    site.show("", "/redirect", 302, Location="http://10.0.0.1:8080/admin")

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        for name in ("run", "file", "mail", "data"):
            with pytest.raises(RefusedQuery, match="Only http and https"):
                await session.click(number(page, name))
        with pytest.raises(RefusedQuery, match=r"10\.0\.0\.1:8080, because"):
            await session.click(number(page, "away"))
        with pytest.raises(RefusedQuery, match=r"10\.0\.0\.1:8080, because"):
            await session.open(f"{site.url}/redirect")
        assert (await session.open(site.url)).title == ""

    within(site, steps)


@needs_browser
def test_passwords_in_addresses_are_hidden(site: Site) -> None:
    url = site.show("<a href='https://ann:hunter22@example.org/x'>in</a>")

    async def steps(session: BrowserSession) -> None:
        page = await session.open(url.replace("//", "//bob:sesame99@"))
        with pytest.raises(KapelleError) as refused:
            await session.open("http://bob:sesame99@10.0.0.1/")
        assert not any(word in f"{page!r}{page}{refused.value}" for word in ("hunter22", "sesame99"))

    within(site, steps)


# --- What pages do to whoever waits for them ---


@needs_browser
def test_dialogs_tabs_and_downloads_are_told_and_refused(site: Site) -> None:
    site.show("payload", "/file", Content_Disposition="attachment; filename=x.exe")
    site.show(
        "<p>here<script>onbeforeunload=()=>'stay';alert('hello');confirm('sure');open('/tab');location='/file'</script>"
    )

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        told = " ".join((*page.notes, *(await session.read()).notes))
        assert "here" in page.text
        for words in (
            "alert, which was dismissed: 'hello'",
            "confirm",
            "another tab, which was closed",
            "'x.exe', which was not",
        ):
            assert words in told

    within(site, steps)


@needs_browser
def test_a_download_goes_into_the_workspace_when_it_is_asked_for(site: Site, tmp_path: Path) -> None:
    site.show("a,b\n1,2\n", "/file", Content_Disposition="attachment; filename=../../x.csv")
    site.show("<a href=/file>Get</a><a href=/>Stay</a>")

    async def steps(session: BrowserSession) -> None:
        page = await session.open(site.url)
        assert await session.download(number(page, "Get"), "data/x.csv") == 8
        with pytest.raises(RefusedQuery):
            await session.download(number(page, "Get"), "../x.csv")
        with pytest.raises(CannotAnswer, match="sent no file"):
            await session.download(number(page, "Stay"), "y.csv")

    with Workspace(tmp_path / "files", kept=tmp_path / "kept") as files:
        within(site, steps, workspace=files)
        assert files.read("data/x.csv") == "a,b\n1,2\n"
        assert [each.path for each in files.list(depth=3)] == ["data", "data/x.csv"]


HANGING = {
    "loop": "<p>here<script>onload = () => { while (true) ; }</script>",
    "alerts": "<script>while (true) alert(1)</script>",
    "memory": "<script>onload = () => { let a = []; while (true) a.push(new Array(100000).fill(Math.random())) }</script>",  # noqa: E501
    "reloads": "<script>location.reload()</script>",
    "closes": "<script>close(); location = 'about:blank'</script>",
    "history": "<script>for (let i = 0; i < 1e9; i++) try { history.pushState(0, 0, '?' + i) } catch {}</script>",
}


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("page", HANGING.values(), ids=HANGING)
def test_a_page_that_hangs_costs_only_itself(page: str, site: Site) -> None:
    bad, good = site.show(page), site.show("<p>fine", "/good")

    async def run() -> None:
        async with Browser(limits=QUICK) as browser:
            try:
                async with browser.session(hosts=site.allowed) as session:
                    with suppress(CannotAnswer):
                        await session.open(bad)
                    with suppress(CannotAnswer):
                        await session.read()
                    assert "fine" in (await session.open(good)).text
            except WorkerLost:  # the browser was flooded, and ended
                async with browser.session(hosts=site.allowed) as session:
                    assert "fine" in (await session.open(good)).text

    asyncio.run(run())


@needs_browser
@pytest.mark.slow
def test_pages_without_an_end_are_cut(site: Site) -> None:
    site.show("<p>first", "/silent", endless="silence")
    site.show("<p>again and again", "/flood", endless="flood")
    site.show("few", "/few")
    site.show("<p>deep" + "<div>" * 20_000 + "<p>wide " * 10_000, "/huge")
    site.show("<script>let a = document.documentElement; for (let i = 0; i < 5e4; i++) a = a.appendChild(document."
              "createElement('b')); document.documentElement.prepend('top')</script>", "/nested")  # fmt: skip

    async def steps(session: BrowserSession) -> None:
        page = await session.open(f"{site.url}/silent")
        assert "first" in page.text
        assert any("still loading" in note for note in page.notes)
        for path in ("/flood", "/huge"):
            page = await session.open(site.url + path)
            assert (page.is_cut, len(page.text) < 25_000, "page goes on" in str(page)) == (True, True, True)
        assert "deep" not in (await session.read(start=20_000)).text
        with suppress(CannotAnswer):
            await session.open(f"{site.url}/nested")
        assert (await session.open(f"{site.url}/few")).text == "few"

    within(site, steps)


@needs_browser
def test_nothing_is_permitted_and_nothing_is_kept(site: Site) -> None:
    site.show(
        "<script>const names = ['camera', 'microphone', 'geolocation', 'notifications', 'clipboard-read'];"
        "const before = document.cookie + localStorage.length; document.cookie = 'a=1; max-age=9999'; localStorage.a = 1;"  # noqa: E501
        "Promise.all(names.map(name => navigator.permissions.query({name}))).then(all => document.title = "
        "[...all.map(each => each.state), before].join(' '))</script>"
    )

    async def run() -> None:
        async with Browser(limits=QUICK) as browser:
            for _ in range(2):
                async with browser.session(hosts=site.allowed) as session:
                    await session.open(site.url)
                    assert (await session.read()).title == "denied denied denied denied denied 0"

    asyncio.run(run())
