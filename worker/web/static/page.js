// The page looks again when the server says that something changed; what it shows always comes from the server.
"use strict";
(() => {
  const banner = document.getElementById("banner");
  const say = (text) => { banner.textContent = text; banner.hidden = !text; };

  // Actions that cannot be taken back ask first.
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  // "done" is shown once, not again after a reload.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    history.replaceState(null, "", here);
  }

  // Texts to copy get a button.
  for (const block of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copybutton";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.before(button);
  }

  // A scan is in no stream of changes: while it runs its page looks again now and then.
  let source = document.body.dataset.live;
  const every = Number(document.body.dataset.every || 0);
  if (!source && !every) return;
  const RETRY_MILLISECONDS = 5000;
  let busy = false, again = false, timer = 0, last = 0, version = "";

  async function look() {
    if (document.hidden) { again = true; return; }
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, {headers: {"X-Leveret-Part": "1"}, cache: "no-store"});
      if (answer.redirected && new URL(answer.url).pathname.endsWith("/login")) { location.assign(answer.url); return; }
      const type = answer.headers.get("content-type") || "";
      if (answer.status === 429 || answer.status >= 500) throw new Error(answer.statusText);
      if (type.startsWith("text/html")) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch (error) {
      // The stream says what is wrong; nothing may follow it, so what was missed is looked for again.
      setTimeout(soon, RETRY_MILLISECONDS);
    }
    busy = false;
    last = Date.now();
    if (again) { again = false; soon(); }
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(look, Math.max(0, 1000 - (Date.now() - last)));
  }

  // Each part is replaced only where it differs, and not while somebody types in it or has it selected.
  function swap(fresh) {
    for (const old of document.querySelectorAll("[data-part]")) {
      const part = fresh.getElementById(old.id);
      if (!part || old.innerHTML === part.innerHTML) continue;
      const selection = getSelection();
      if (!selection.isCollapsed && old.contains(selection.anchorNode)) { again = true; continue; }
      const focused = old.contains(document.activeElement) ? keyOf(document.activeElement) : null;
      const open = new Set([...old.querySelectorAll("details[open] > summary")].map((one) => one.textContent));
      const scrolled = [...old.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
      old.replaceChildren(...document.adoptNode(part).childNodes);
      for (const summary of old.querySelectorAll("details > summary")) {
        if (open.has(summary.textContent)) summary.parentElement.open = true;
      }
      old.querySelectorAll(".scroll").forEach((one, index) => { one.scrollLeft = scrolled[index] || 0; });
      if (focused) [...old.querySelectorAll("a, button, summary, [tabindex]")].find((one) => keyOf(one) === focused)?.focus();
    }
    if (!fresh.body.dataset.every) clearInterval(repeated);
    const live = fresh.body.dataset.live;
    // A job that is divided meanwhile changes with its parts.
    if (live && stream && live !== source) { stream.close(); source = live; connect(); }
    if (!live && stream) { stream.close(); say(""); if (document.querySelector("main h1")) onEnd(); }
  }

  const keyOf = (element) => [element.tagName, element.getAttribute("href"), element.textContent.trim()].join(" ");

  // A job that ended shows its player and its files: the whole page is drawn again, once.
  function onEnd() { if (!sessionStorage.getItem("ended " + location.pathname)) { sessionStorage.setItem("ended " + location.pathname, "1"); location.reload(); } }
  if (!source || !source.includes("job=")) sessionStorage.clear();
  else sessionStorage.removeItem("ended " + location.pathname);

  let stream = null;
  function connect() {
    stream = new EventSource(source);
    stream.addEventListener("change", (event) => { version = event.lastEventId; say(""); soon(); });
    stream.addEventListener("here", (event) => {
      // What is shown may be older than what it knows: something changed before the stream began, or while it was away.
      if (event.lastEventId !== version) soon();
      version = event.lastEventId;
      if (!banner.hidden) { say(""); soon(); }
    });
    stream.addEventListener("trouble", (event) => say(JSON.parse(event.data).problem + ". What you see is old."));
    stream.onerror = () => {
      say("The server does not answer. What you see is old; this page comes back by itself.");
      if (stream.readyState === EventSource.CLOSED) { stream.close(); setTimeout(connect, 3000); }
    };
    stream.onopen = () => { if (!banner.hidden) { say(""); soon(); } };
  }
  const repeated = every ? setInterval(look, every) : 0;
  if (source) connect();
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) { again = false; soon(); } });
  addEventListener("pagehide", () => stream && stream.close());
  addEventListener("pageshow", (event) => { if (event.persisted) { if (source) connect(); soon(); } });
})();
