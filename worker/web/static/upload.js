// Uploads that go on after a reload: tus to the server's folder, or parts straight to the bucket.
"use strict";
(() => {
  const box = document.querySelector("[data-upload]");
  if (!box) return;
  box.hidden = false;
  const file = document.getElementById("upload-file"), start = document.getElementById("upload-start");
  const stop = document.getElementById("upload-stop"), bar = document.getElementById("upload-bar"), status = document.getElementById("upload-status");
  const PIECE = 8 * 1024 * 1024, TUS = {"Tus-Resumable": "1.0.0"};
  const root = document.documentElement.dataset.root;
  let running = null;

  const say = (text) => { status.textContent = text; };
  const keyOf = (one) => `upload ${root} ${one.name} ${one.size} ${one.lastModified}`;
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const remember = (key, value) => { try { value === null ? localStorage.removeItem(key) : localStorage.setItem(key, value); } catch { /* private windows */ } };
  const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

  async function ask(address, options, signal) {
    const answer = await fetch(address, {...options, signal});
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    const error = new Error(problem.detail || `the server says ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  function shown(done, size) {
    bar.hidden = false; bar.value = 100 * done / size;
    say(`${(100 * done / size).toFixed(0)} %`);
  }

  async function tus(one, signal) {
    const key = keyOf(one);
    let address = recall(key), offset = 0;
    if (address) {
      try { offset = Number((await ask(address, {method: "HEAD", headers: TUS}, signal)).headers.get("Upload-Offset")); } catch { address = null; }
    }
    if (!address) {
      const name = btoa(String.fromCharCode(...new TextEncoder().encode(one.name)));
      const begun = await ask(box.dataset.upload, {method: "POST", headers: {...TUS, "Upload-Length": String(one.size), "Upload-Metadata": `filename ${name}`}}, signal);
      address = new URL(begun.headers.get("Location"), location.href).href; offset = 0;
      remember(key, address);
    }
    running.cancel = () => fetch(address, {method: "DELETE", headers: TUS});
    let failures = 0;
    while (offset < one.size) {
      shown(offset, one.size);
      try {
        const answer = await ask(address, {method: "PATCH", body: one.slice(offset, offset + PIECE), headers: {...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream"}}, signal);
        offset = Number(answer.headers.get("Upload-Offset")); failures = 0;
        const uri = answer.headers.get("Upload-Uri-Base64");
        if (uri) { remember(key, null); return new TextDecoder().decode(Uint8Array.from(atob(uri), (c) => c.charCodeAt(0))); }
      } catch (error) {
        if (signal.aborted || error.status === 404 || error.status === 507 || error.status === 422 || ++failures > 8) { if (error.status === 404) remember(key, null); throw error; }
        say(`${error.message}: it goes on in a moment`);
        await wait(Math.min(10000, 500 * 2 ** failures));
        offset = Number((await ask(address, {method: "HEAD", headers: TUS}, signal).catch(() => null))?.headers.get("Upload-Offset") ?? offset);
      }
    }
    throw new Error("the upload ended without an address");
  }

  async function bucket(one, signal) {
    const key = keyOf(one), address = box.dataset.bucket, json = {"Content-Type": "application/json"};
    let upload = JSON.parse(recall(key) || "null");
    const query = (extra) => new URLSearchParams([["uri", upload.uri], ["upload_id", upload.upload_id], ...extra]);
    if (upload) {
      try { upload = {...(await (await ask(`${address}?${query([])}`, {}, signal)).json()), part_bytes: upload.part_bytes}; } catch { upload = null; }
    }
    if (!upload) {
      upload = await (await ask(address, {method: "POST", headers: json, body: JSON.stringify({name: one.name, bytes: one.size})}, signal)).json();
      remember(key, JSON.stringify(upload));
    }
    running.cancel = () => fetch(`${address}/cancel`, {method: "POST", headers: json, body: JSON.stringify({uri: upload.uri, upload_id: upload.upload_id})});
    const count = Math.ceil(one.size / upload.part_bytes);
    for (let number = 1; number <= count; number++) {
      const piece = one.slice((number - 1) * upload.part_bytes, number * upload.part_bytes);
      shown((number - 1) * upload.part_bytes, one.size);
      if (upload.parts[number] === piece.size) continue;
      for (let failures = 0; ; failures++) {
        try {
          const links = await (await ask(`${address}/links?${query([["part", number]])}`, {}, signal)).json();
          const sent = await fetch(links.links[number], {method: "PUT", body: piece, signal});
          if (!sent.ok) throw new Error(`the bucket says ${sent.status}`);
          break;
        } catch (error) { if (signal.aborted || failures > 6) throw error; await wait(500 * 2 ** failures); }
      }
    }
    const done = await (await ask(`${address}/finish`, {method: "POST", headers: json, body: JSON.stringify({uri: upload.uri, upload_id: upload.upload_id, bytes: one.size})}, signal)).json();
    remember(key, null);
    return done.uri;
  }

  function take(uri) {
    const text = document.getElementById("text");
    try {
      const message = JSON.parse(text.value), data = message.tasks[0].data ??= {};
      if (Array.isArray(data.sources)) data.sources[0] = uri; else data.source = uri;
      text.value = JSON.stringify(message, null, 2);
      text.dispatchEvent(new Event("input"));
    } catch { /* the message is no JSON: the address is shown all the same */ }
  }

  start.addEventListener("click", async () => {
    const one = file.files[0];
    if (!one) { say("Choose a file first."); return; }
    const control = new AbortController();
    running = {control, cancel: null};
    start.disabled = true; stop.hidden = false;
    try {
      const uri = await (box.dataset.upload ? tus : bucket)(one, control.signal);
      bar.value = 100;
      say(`It is ${uri}, and the message names it.`);
      take(uri);
    } catch (error) {
      say(control.signal.aborted ? "Cancelled." : `It stopped: ${error.message}. Start it again, and it goes on.`);
    }
    start.disabled = false; stop.hidden = true; running = null;
  });
  stop.addEventListener("click", () => {
    if (!running) return;
    running.control.abort();
    if (running.cancel) running.cancel();
    if (file.files[0]) remember(keyOf(file.files[0]), null);
  });
})();
