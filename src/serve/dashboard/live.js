// Keeps an open page up to date: the server sends its content anew while it changes, and what differs is replaced in place, so that
// focus, selection, scrolling and what is being typed stay. Without this script every page works, and shows what was when it was loaded.
"use strict";
(() => {
  const line = document.getElementById("live");
  const main = document.getElementById("content");
  if (!line || !main || !window.EventSource) return;
  let source = null;

  const say = (words, isLive) => {
    line.classList.toggle("on", isLive);
    if (isLive) {
      line.textContent = words;
      return;
    }
    const reload = document.createElement("a");
    reload.href = location.href;
    reload.textContent = "Reload";
    line.replaceChildren(words + " ", reload);
  };

  // Makes `old` what `now` is, with as few changes as that takes.
  const become = (old, now) => {
    for (let place = 0; place < now.childNodes.length; place++) {
      const wanted = now.childNodes[place];
      const there = old.childNodes[place];
      if (!there) {
        old.append(wanted.cloneNode(true));
      } else if (there.nodeType !== wanted.nodeType || there.nodeName !== wanted.nodeName) {
        there.replaceWith(wanted.cloneNode(true));
      } else if (wanted.nodeType !== Node.ELEMENT_NODE) {
        if (there.nodeValue !== wanted.nodeValue) there.nodeValue = wanted.nodeValue;
      } else if (!there.isEqualNode(wanted)) {
        attributes(there, wanted);
        // What is in a form is the person's until it is sent.
        if (there.nodeName !== "FORM") become(there, wanted);
      }
    }
    while (old.childNodes.length > now.childNodes.length) old.lastChild.remove();
  };

  const attributes = (there, wanted) => {
    for (const { name, value } of wanted.attributes) {
      if (there.getAttribute(name) !== value) there.setAttribute(name, value);
    }
    for (const { name } of [...there.attributes]) {
      // A table that a person opened stays open.
      if (!wanted.hasAttribute(name) && !(name === "open" && there.nodeName === "DETAILS")) there.removeAttribute(name);
    }
  };

  const open = () => {
    if (source) return;
    const { target, version } = line.dataset;
    source = new EventSource("/live?" + new URLSearchParams({ page: target, version }));
    source.onopen = () => say("Live", true);
    source.onmessage = (event) => {
      const news = JSON.parse(event.data);
      const made = document.createElement("template");
      made.innerHTML = news.content;
      become(main, made.content);
      document.title = news.title + " · Mailfleet";
      line.dataset.version = news.version;
    };
    source.onerror = () => {
      // It tries again by itself, unless it was refused.
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        say("Not live.", false);
      } else {
        say("Not connected.", false);
      }
    };
  };

  const close = () => {
    if (source) source.close();
    source = null;
  };

  // Nobody looks at a page that is hidden, and nothing is made for it.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", () => document.hidden || open());
})();
