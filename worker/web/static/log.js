// The log follows: new text is added at its end, and the view stays there unless somebody scrolled up.
"use strict";
(() => {
  const log = document.getElementById("log");
  if (!log || !log.dataset.follow) return;
  const most = 400000;
  let stream = null, begun = false;
  const add = (text) => {
    const low = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(text);
    while (log.textContent.length > most && log.firstChild !== log.lastChild) log.firstChild.remove();
    if (low) log.scrollTop = log.scrollHeight;
  };
  stream = new EventSource(log.dataset.follow);
  stream.addEventListener("open", () => { begun = false; });
  stream.addEventListener("attempt", (event) => {
    const attempt = JSON.parse(event.data);
    if (!begun) { log.textContent = ""; begun = true; } else add(`\n--- attempt ${attempt.number} on ${attempt.worker}\n`);
  });
  stream.addEventListener("text", (event) => add(JSON.parse(event.data).text));
  stream.addEventListener("end", () => stream.close());
  addEventListener("pagehide", () => stream.close());
})();
