// What a page does by itself: draws its charts in the theme's colours, keeps itself fresh, shows local times.
"use strict";
(() => {
  const config = { displayModeBar: false, responsive: true, showTips: false };

  function coloured(value, styles) {
    if (typeof value === "string") return value.startsWith("--") ? styles.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return value.map((one) => coloured(one, styles));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, styles)]));
    }
    return value;
  }

  function drawCharts(root) {
    if (!window.Plotly) return;
    const styles = getComputedStyle(document.documentElement);
    for (const place of root.querySelectorAll("[data-chart]")) {
      const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
      // names of classes and columns are data: they are drawn as they are, never as markup
      const shown = coloured(spec, styles);
      shown.layout.font.size = Math.max(12, Math.min(24, window.innerWidth / 90));
      window.Plotly.react(place, shown.data, shown.layout, config);
    }
  }

  function showLocalTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      time.title = new Date(time.dateTime).toLocaleString(document.documentElement.lang);
    }
  }

  // Fetches the page again and takes its live part over, unless somebody is in the middle of it.
  async function refresh() {
    const live = document.getElementById("live");
    if (document.hidden || !live || live.contains(document.activeElement)) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (answer.redirected) { location.reload(); return; } // signed out meanwhile
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    if (!fresh || live.contains(document.activeElement)) return;
    const open = new Set([...live.querySelectorAll("details[open]")].map((one) => one.parentElement.innerText.slice(0, 40)));
    // charts keep their place and are redrawn, so that they do not flicker
    for (const place of fresh.querySelectorAll("[data-chart]")) {
      const drawn = document.getElementById(place.id);
      if (drawn) place.replaceWith(drawn);
    }
    for (const one of fresh.querySelectorAll("details")) {
      if (open.has(one.parentElement.innerText.slice(0, 40))) one.open = true;
    }
    live.replaceChildren(...fresh.childNodes);
    prepare(live);
  }

  function prepare(root) {
    showLocalTimes(root);
    drawCharts(root);
  }

  document.addEventListener("DOMContentLoaded", () => {
    prepare(document);
    const live = document.querySelector("#live[data-live]");
    if (live) setInterval(() => refresh().catch(() => {}), 1000 * Number(live.dataset.live));
    const boxes = document.getElementById("boxes");
    if (boxes) boxes.addEventListener("change", () => document.querySelector(".picture").classList.toggle("bare", !boxes.checked));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawCharts(document));
  });
})();
