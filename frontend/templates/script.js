// What is better with it; nothing needs it.
"use strict";

// A form that must not be sent twice is not, while its answer is awaited. (If it were: the same order, once.)
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    const button = form.querySelector("button");
    if (button.getAttribute("aria-busy") === "true") event.preventDefault();
    else button.setAttribute("aria-busy", "true");
  });
}
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});

// What is wrong is read first.
document.getElementById("errors")?.focus();

// A postcode's answer while it is typed.
const postcode = document.getElementById("postcode");
const answer = document.getElementById("postcode-answer");
if (postcode && answer) {
  const kinds = { valid: "good", unconfirmed: "warn", malformed: "bad", unknown: "bad", retired: "bad" };
  let timer, asked;
  postcode.addEventListener("input", () => {
    clearTimeout(timer);
    asked?.abort();
    answer.textContent = "";
    const code = postcode.value.trim();
    // Fewer characters are no postcode yet.
    if (code.replace(/\s/g, "").length < 5) return;
    timer = setTimeout(async () => {
      asked = new AbortController();
      try {
        const got = await fetch("/checkout/postcode?code=" + encodeURIComponent(code), { signal: asked.signal });
        const said = await got.json();
        answer.textContent = said.sentence;
        answer.className = "answer " + (kinds[said.answer] ?? "");
      } catch { /* Typed on, or away: the review tells. */ }
    }, 400);
  });
}

// The cluster as it changes.
const look = document.getElementById("look");
if (look && "EventSource" in window) {
  const live = document.getElementById("live");
  const say = (text) => { if (live.textContent !== text) live.textContent = text; };
  const events = new EventSource("/cluster/events");
  events.addEventListener("look", (event) => {
    // Drawn by the server, which escapes every text in it.
    look.innerHTML = event.data;
    say("Live: " + (look.querySelector(".health")?.textContent.trim() ?? "nobody answers"));
  });
  events.addEventListener("error", () => say("The front end does not answer; trying again."));
}
