// One <video>; hls.js plays HLS and Shaka DASH. The player's script is loaded when somebody plays.
"use strict";
(() => {
  const loaded = new Map();
  function load(address) {
    if (!loaded.has(address)) loaded.set(address, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = resolve;
      script.onerror = () => reject(new Error("the player could not be loaded"));
      document.head.append(script);
    }));
    return loaded.get(address);
  }

  for (const box of document.querySelectorAll("[data-player]")) {
    const video = box.querySelector("video");
    const problem = box.querySelector("[data-player-problem]");
    const choice = Object.fromEntries([...box.querySelectorAll("[data-choice]")].map((one) => [one.dataset.choice, one]));
    box.querySelector(".choices").hidden = false;
    let engine = null, attached = "";

    const fail = (text) => { problem.textContent = text; problem.hidden = !text; };
    const name = (tag) => { try { return new Intl.DisplayNames(undefined, {type: "language"}).of(tag) || tag; } catch { return tag; } };

    // `items`: [value, label], shown where there is something to choose.
    function offer(select, items, chosen, pick) {
      select.parentElement.hidden = items.length < 2;
      select.replaceChildren(...items.map(([value, label]) => {
        const option = document.createElement("option");
        option.value = value; option.textContent = label; option.selected = String(value) === String(chosen);
        return option;
      }));
      select.onchange = () => pick(select.value);
    }

    async function detach() {
      if (engine && engine.destroy) await engine.destroy();
      engine = null;
      for (const key of ["audio", "text", "quality"]) choice[key].parentElement.hidden = true;
    }

    async function withHls(address) {
      if (!box.dataset.hls) return false;
      await load(box.dataset.hls);
      if (!Hls.isSupported()) return false;
      const hls = new Hls({enableWorker: false});
      engine = hls;
      hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) fail(`It does not play: ${data.details}.`); });
      const ready = new Promise((resolve) => hls.once(Hls.Events.MANIFEST_PARSED, resolve));
      hls.loadSource(address);
      hls.attachMedia(video);
      await ready;
      offer(choice.quality, [[-1, "by itself"], ...hls.levels.map((one, index) => [index, `${one.height || "?"}p`])], -1, (value) => { hls.nextLevel = Number(value); });
      const sounds = () => offer(choice.audio, hls.audioTracks.map((one, index) => [index, one.name || name(one.lang)]), hls.audioTrack, (value) => { hls.audioTrack = Number(value); });
      const texts = () => offer(choice.text, [[-1, "none"], ...hls.subtitleTracks.map((one, index) => [index, one.name || name(one.lang)])], hls.subtitleTrack, (value) => { hls.subtitleDisplay = Number(value) >= 0; hls.subtitleTrack = Number(value); });
      sounds(); texts();
      hls.on(Hls.Events.AUDIO_TRACKS_UPDATED, sounds);
      hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, texts);
      return true;
    }

    async function withShaka(address) {
      if (!box.dataset.shaka) return false;
      await load(box.dataset.shaka);
      shaka.polyfill.installAll();
      if (!shaka.Player.isBrowserSupported()) return false;
      const player = new shaka.Player();
      engine = player;
      player.addEventListener("error", (event) => fail(`It does not play: Shaka error ${event.detail.code}.`));
      await player.attach(video);
      await player.load(address);
      const heights = [...new Set(player.getVariantTracks().map((one) => one.height))].sort((a, b) => b - a);
      offer(choice.quality, [["", "by itself"], ...heights.map((one) => [one, `${one}p`])], "", (value) => {
        player.configure({abr: {enabled: !value}});
        const track = player.getVariantTracks().find((one) => String(one.height) === value);
        if (track) player.selectVariantTrack(track, true);
      });
      offer(choice.audio, player.getAudioLanguages().map((one) => [one, name(one)]), "", (value) => player.selectAudioLanguage(value));
      offer(choice.text, [["", "none"], ...player.getTextTracks().map((one) => [one.id, one.label || name(one.language)])], "", async (value) => {
        const track = player.getTextTracks().find((one) => String(one.id) === value);
        if (track) player.selectTextTrack(track);
        await player.setTextTrackVisibility(Boolean(track));
      });
      return true;
    }

    async function attach() {
      const option = choice.play.selectedOptions[0];
      if (attached === option.value) return;
      attached = option.value;
      fail("");
      await detach();
      for (const one of video.querySelectorAll("source")) one.remove();
      const address = new URL(option.value, location.href).href;
      try {
        const kind = option.dataset.engine;
        const ours = kind === "hls" ? (await withHls(address) || await withShaka(address)) : kind === "dash" ? await withShaka(address) : false;
        if (!ours) video.src = address;
      } catch (error) { fail(`It does not play: ${error.message || error.code || error}.`); }
    }

    choice.play.parentElement.hidden = choice.play.options.length < 2;
    choice.play.addEventListener("change", async () => { video.removeAttribute("src"); await attach(); video.play(); });
    // Nothing is fetched before somebody plays: the first press attaches, then plays.
    video.addEventListener("error", () => {
      const code = video.error && video.error.code;
      if (attached && code) fail("This browser cannot play it; the file can be saved from the list of artifacts.");
    });
    let starting = false;
    const start = async (event) => {
      if (attached || starting) return;
      starting = true;
      event.preventDefault();
      video.pause();
      await attach();
      await video.play().catch(() => {});
      starting = false;
    };
    video.addEventListener("play", start);
    video.addEventListener("click", start);
    if (box.dataset.storyboard) board(box, video);
  }

  // The storyboard: a small picture of the place that the pointer, or the arrow keys, are at.
  async function board(box, video) {
    const answer = await fetch(box.dataset.storyboard);
    if (!answer.ok) return;
    const cues = [...(await answer.text()).matchAll(/([\d:.]+) --> ([\d:.]+)[^\n]*\n([^\n#]+)#xywh=(\d+),(\d+),(\d+),(\d+)/g)].map((one) => ({
      start: seconds(one[1]), end: seconds(one[2]), sheet: new URL(one[3], new URL(box.dataset.storyboard, location.href)).href, area: one.slice(4, 8).map(Number),
    }));
    if (!cues.length) return;
    const strip = box.querySelector("[data-board]"), canvas = strip.querySelector("canvas"), label = strip.querySelector("[data-board-time]");
    const range = document.createElement("input");
    range.type = "range"; range.min = 0; range.max = cues.at(-1).end; range.step = "any"; range.value = 0;
    range.setAttribute("aria-label", "Time, with pictures");
    strip.append(range);
    strip.hidden = false;
    const sheets = new Map();
    const draw = async (at) => {
      const cue = cues.find((one) => at < one.end) || cues.at(-1);
      if (!sheets.has(cue.sheet)) { const image = new Image(); image.src = cue.sheet; sheets.set(cue.sheet, image.decode().then(() => image)); }
      const image = await sheets.get(cue.sheet).catch(() => null);
      if (!image) return;
      const [x, y, width, height] = cue.area;
      canvas.width = width; canvas.height = height;
      canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
      label.textContent = clock(at);
    };
    range.addEventListener("input", () => draw(Number(range.value)));
    range.addEventListener("change", () => { if (Number.isFinite(video.duration)) video.currentTime = Number(range.value); });
    video.addEventListener("timeupdate", () => { if (document.activeElement !== range) { range.value = video.currentTime; draw(video.currentTime); } });
    draw(0);
  }
  const seconds = (text) => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  const clock = (at) => `${Math.floor(at / 60)}:${String(Math.floor(at % 60)).padStart(2, "0")}`;
})();
