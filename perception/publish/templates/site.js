// Everything that pages do beyond showing: search, sorting, switching maps, drawing figures. Without it they still read.
"use strict";
document.documentElement.classList.add("js");

addEventListener("DOMContentLoaded", () => {
  prepareSearch();
  for (const table of document.querySelectorAll("table.sortable")) prepareSorting(table);
  drawCharts();
  prepareMaps();
});

function withoutPlotly() {
  document.documentElement.classList.remove("js");
  for (const view of document.querySelectorAll(".view")) view.hidden = false;
}

function prepareSearch() {
  const form = document.querySelector(".search");
  if (!form || !window.perceptionSearch) return;
  const input = form.querySelector("input"), list = form.querySelector("ul"), status = form.querySelector("[role=status]");
  const root = document.body.dataset.root;
  // Without accents and vowel signs; letters that Arabic keyboards write another way become those of Urdu.
  const letters = { "\u064a": "\u06cc", "\u0649": "\u06cc", "\u0643": "\u06a9", "\u0647": "\u06c1", "\u0629": "\u06c3" };
  const fold = (text) => text.normalize("NFKD").replace(/[\u0300-\u036f\u064b-\u065f\u0670\u200c\u200d]/g, "")
    .replace(/[\u064a\u0649\u0643\u0647\u0629]/g, (letter) => letters[letter]).toLowerCase();
  const entries = window.perceptionSearch.map(([label, kind, page, english = ""]) => {
    const names = [label, english].filter(Boolean).map(fold);
    return { label, kind, page, names, key: [...names, fold(kind)].join(" ") };
  });
  let chosen = -1;
  form.hidden = false;

  function close() {
    list.hidden = true;
    status.classList.add("unseen");
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    chosen = -1;
  }

  function show() {
    const words = fold(input.value).split(/\s+/).filter(Boolean);
    if (!words.length) return close();
    const found = entries.filter((entry) => words.every((word) => entry.key.includes(word)));
    const best = (name) => (name === words.join(" ") ? -1 : name.startsWith(words[0]) ? 0 : name.includes(words[0]) ? 1 : 2);
    const rank = (entry) => Math.min(...entry.names.map(best));
    found.sort((a, b) => rank(a) - rank(b));
    list.replaceChildren(...found.slice(0, 12).map((entry, number) => {
      const item = document.createElement("li"), link = document.createElement("a"), kind = document.createElement("small");
      item.setAttribute("role", "presentation");
      link.id = "found-" + number;
      link.setAttribute("role", "option");
      link.href = root + entry.page;
      link.tabIndex = -1;
      link.textContent = entry.label;
      link.dir = kind.dir = "auto";
      kind.textContent = entry.kind;
      link.append(" ", kind);
      item.append(link);
      return item;
    }));
    const { none, one, other } = form.dataset;
    status.textContent = !found.length ? none : found.length === 1 ? one : other.replace("#", found.length);
    status.classList.toggle("unseen", found.length > 0);
    chosen = -1;
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
  }

  function choose(number) {
    const items = [...list.querySelectorAll("a")];
    if (!items.length) return;
    chosen = (number + items.length) % items.length;
    items.forEach((item, place) => item.setAttribute("aria-selected", String(place === chosen)));
    input.setAttribute("aria-activedescendant", items[chosen].id);
    items[chosen].scrollIntoView({ block: "nearest" });
  }

  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose(event.key === "ArrowDown" ? chosen + 1 : chosen < 0 ? -1 : chosen - 1);
    } else if (event.key === "Escape") close();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const target = list.querySelectorAll("a")[Math.max(chosen, 0)];
    if (target) target.click();
  });
  form.addEventListener("focusout", (event) => { if (!form.contains(event.relatedTarget)) close(); });
}

function prepareSorting(table) {
  const groups = [...table.tBodies].map((body) => ({ body, rows: [...body.rows] }));
  const rows = groups.flatMap((group) => group.rows).filter((row) => !row.classList.contains("group"));
  const heads = [...table.tHead.rows[0].cells];
  const flat = document.createElement("tbody");

  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      for (const other of heads) other.removeAttribute("aria-sort");
      if (now === "descending") return grouped();
      const direction = now === "ascending" ? "descending" : "ascending";
      head.setAttribute("aria-sort", direction);
      const key = (row) => {
        const cell = row.cells[column];
        if (!cell || cell.colSpan > 1) return null;
        if (head.dataset.sort === "text") return cell.textContent;
        const value = parseFloat(cell.dataset.value);
        return Number.isNaN(value) ? null : value;
      };
      const sign = direction === "ascending" ? 1 : -1;
      const ordered = rows.map((row) => [key(row), row]).sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
      });
      flat.replaceChildren(...ordered.map(([, row]) => row));
      for (const group of groups) group.body.remove();
      table.classList.add("flat");
      table.append(flat);
    });
  });

  function grouped() {
    flat.remove();
    table.classList.remove("flat");
    for (const group of groups) {
      group.body.replaceChildren(...group.rows);
      table.append(group.body);
    }
  }
}

function drawCharts() {
  const plots = document.querySelectorAll(".plot");
  if (plots.length && !window.Plotly) return withoutPlotly();
  for (const plot of plots) {
    const figure = JSON.parse(plot.nextElementSibling.textContent);
    Plotly.newPlot(plot, figure.data, figure.layout, figure.config).then(() => { plot.dataset.drawn = "yes"; }, withoutPlotly);
  }
}

function prepareMaps() {
  const chooser = document.getElementById("switch");
  if (!chooser) return;
  const views = [...document.querySelectorAll(".view")];
  const config = JSON.parse(chooser.dataset.config);

  // Whatever goes wrong with the map that moves, the one that does not is there.
  function draw(view) {
    try {
      drawn(view);
    } catch (error) {
      console.error(error);
      withoutPlotly();
    }
  }

  function drawn(view) {
    const map = view.querySelector(".map");
    if (!map || map.dataset.drawn) return;
    const geometry = (window.perceptionGeometry || {})[map.dataset.vintage];
    if (!window.Plotly || !geometry) return withoutPlotly();
    const figure = JSON.parse(view.querySelector("script").textContent);
    for (const trace of figure.data) {
      if (trace.geojson) trace.geojson = geometry.districts;
      if (!trace.meta) continue;
      const borders = geometry.borders[trace.meta.level];
      for (const axis of ["lon", "lat"]) trace[axis] = trace.meta.provinces.flatMap((id) => borders[id]?.[axis] ?? []);
    }
    if (matchMedia("(pointer: coarse)").matches) figure.layout.dragmode = false;
    Plotly.newPlot(map, figure.data, figure.layout, config).then(() => { map.dataset.drawn = "yes"; }, withoutPlotly);
  }

  function show(kind) {
    for (const view of views) view.hidden = view.dataset.view !== kind;
    draw(views.find((view) => !view.hidden));
  }

  chooser.addEventListener("change", (event) => show(event.target.value));
  show(chooser.querySelector("input:checked").value);
}
