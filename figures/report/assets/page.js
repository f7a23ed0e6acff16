// What the page does: draws its figures in the colors of its theme, sorts tables, gives figures and numbers away.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const parsed = (id) => JSON.parse(document.getElementById(id).textContent);
  const plots = all(".plot");
  const still = { displaylogo: false, responsive: true, scrollZoom: false };
  const buttons = ["select2d", "lasso2d", "autoScale2d", "pan2d", "zoomIn2d", "zoomOut2d", "orbitRotation", "tableRotation", "resetCameraLastSave3d", "pan3d", "zoom3d"];

  // Theme: the system's, unless one was chosen in this page before.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => { try { return localStorage.getItem("report-theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const toggle = document.getElementById("theme");
  const name = () => { toggle.textContent = isDark() ? "Light theme" : "Dark theme"; };

  function figureOf(plot) {
    const style = getComputedStyle(root);
    const text = document.getElementById(plot.dataset.figure).textContent;
    return JSON.parse(text.replace(/"var\((--[\w-]+)\)"/g, (_, v) => JSON.stringify(style.getPropertyValue(v).trim())));
  }
  // On a narrow screen there is no room beside a bar: its label stands over it.
  const narrow = matchMedia("(max-width: 40rem)");
  function labelsAbove({ layout }) {
    const names = layout.yaxis.categoryarray;
    layout.annotations = names.map((name) => ({
      text: name.replace(/(.{1,52})(\s+|$)/g, "$1<br>").replace(/<br>$/, ""), font: { size: 10 }, align: "left", showarrow: false,
      x: 0, xref: "paper", xanchor: "left", y: name, yanchor: "bottom", yshift: 5,
    }));
    Object.assign(layout.yaxis, { showticklabels: false, automargin: false });
    Object.assign(layout, { height: 80 + 48 * names.length, margin: { ...layout.margin, l: 8 } });
  }
  const hidden = (plot) => all('.legend [aria-pressed="false"]', plot.closest("figure")).map((button) => button.dataset.series);
  async function draw(plot) {
    const figure = figureOf(plot), off = hidden(plot);
    for (const trace of figure.data) if (off.includes(trace.meta)) trace.visible = false;
    if (narrow.matches && plot.closest(".wide")) labelsAbove(figure);
    if (plot.layout?.scene) figure.layout.scene.camera = plot.layout.scene.camera;
    const image = { format: "svg", filename: plot.dataset.figure };
    await Plotly.react(plot, figure.data, figure.layout, { ...still, modeBarButtonsToRemove: buttons, toImageButtonOptions: image });
  }
  let drawing = Promise.resolve();
  function redraw() {
    root.removeAttribute("data-drawn");
    drawing = drawing.then(async () => {
      for (const plot of plots) {
        await draw(plot);
        await new Promise((done) => setTimeout(done));  // the page stays alive between two plots
      }
      root.dataset.drawn = "yes";
    });
    return drawing;
  }
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("report-theme", root.dataset.theme); } catch { /* a page that may not remember */ }
    name();
    redraw();
  });
  system.addEventListener("change", () => { if (!root.dataset.theme) { name(); redraw(); } });
  narrow.addEventListener("change", redraw);
  if (chosen()) root.dataset.theme = chosen();
  name();
  let before;
  addEventListener("beforeprint", () => { before = root.dataset.theme; root.dataset.theme = "light"; plots.forEach(draw); });
  addEventListener("afterprint", () => { if (before) root.dataset.theme = before; else root.removeAttribute("data-theme"); plots.forEach(draw); });

  // Surfaces of one figure turn together, by pointer and by arrow keys.
  const scenes = (figure) => all(".plot", figure).filter((plot) => plot.layout?.scene);
  function turnTo(figure, camera, except) {
    for (const plot of scenes(figure)) if (plot !== except) Plotly.relayout(plot, { "scene.camera": camera });
  }
  function turn(figure, key) {
    const first = scenes(figure)[0];
    if (!first) return false;
    const camera = structuredClone(first.layout.scene.camera), { x, y, z } = camera.eye;
    const by = { ArrowLeft: -0.15, ArrowRight: 0.15 }[key] || 0, cos = Math.cos(by), sin = Math.sin(by);
    camera.eye = { x: x * cos - y * sin, y: x * sin + y * cos, z: z + ({ ArrowUp: 0.15, ArrowDown: -0.15 }[key] || 0) };
    turnTo(figure, camera);
    return true;
  }
  for (const group of all(".panels[tabindex]")) {
    const figure = group.closest("figure");
    group.addEventListener("keydown", (event) => {
      if (event.key.startsWith("Arrow") && turn(figure, event.key)) event.preventDefault();
    });
  }
  function follow(plot) {
    plot.on("plotly_relayout", (change) => {
      const camera = change["scene.camera"];
      if (camera && !plot.dataset.led) {
        const figure = plot.closest("figure"), others = scenes(figure).filter((other) => other !== plot);
        others.forEach((other) => { other.dataset.led = "yes"; });
        Promise.all(others.map((other) => Plotly.relayout(other, { "scene.camera": structuredClone(camera) })))
          .finally(() => others.forEach((other) => delete other.dataset.led));
      }
    });
  }

  // Legends switch their series in every panel of the figure.
  for (const button of all(".legend button")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "false");
      all(".plot", button.closest("figure")).forEach(draw);
    });
  }

  // Tables: one click or Enter sorts, the next turns round; what has no number comes last.
  const order = new Intl.Collator("en", { numeric: true });
  for (const button of all("thead button")) {
    button.addEventListener("click", () => {
      const header = button.parentElement, table = header.closest("table"), body = table.tBodies[0];
      const ascending = header.getAttribute("aria-sort") !== "ascending", column = header.cellIndex;
      all("thead th", table).forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const key = (row) => { const cell = row.cells[column]; return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent; };
      const compare = (a, b) => {
        if (typeof a === "string" || typeof b === "string") return (ascending ? 1 : -1) * order.compare(a, b);
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
        return (ascending ? 1 : -1) * (a === b ? 0 : a < b ? -1 : 1);
      };
      body.append(...[...body.rows].map((row) => [key(row), row]).sort((a, b) => compare(a[0], b[0])).map((pair) => pair[1]));
      document.getElementById("told").textContent = `Sorted by ${button.textContent}, ${header.getAttribute("aria-sort")}`;
    });
  }

  // Downloads: numbers as they are stored in the page, figures with all their panels.
  function save(content, type, file) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  const field = (value) => value === null ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value;
  function csv(columns) {
    const names = Object.keys(columns), length = columns[names[0]].length;
    const rows = Array.from({ length }, (_, i) => names.map((column) => field(columns[column][i])).join(","));
    return [names.map(field).join(","), ...rows].join("\r\n") + "\r\n";
  }
  const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  async function whole(figure) {
    const style = getComputedStyle(root), own = all(".plot", figure);
    const columns = figure.querySelector(".panels.wide") ? 1 : Math.min(own.length, 2), gap = 20, head = 64;
    const width = Math.max(...own.map((plot) => plot.offsetWidth)), rows = [];
    for (let i = 0; i < own.length; i += columns) rows.push(own.slice(i, i + columns));
    let y = head, parts = "";
    for (const row of rows) {
      let x = 0;
      for (const plot of row) {
        const svg = await Plotly.toImage(plot, { format: "svg", width, height: plot.offsetHeight, imageDataOnly: true });
        const title = plot.closest(".panel").querySelector(".panel-title").textContent;
        parts += `<text x="${x + 10}" y="${y + 12}" font-size="13" font-weight="600">${escaped(title)}</text>`;
        parts += `<g transform="translate(${x},${y + 18})">${svg.replace(/^<\?xml[^>]*>/, "")}</g>`;
        x += width + gap;
      }
      y += Math.max(...row.map((plot) => plot.offsetHeight)) + 30;
    }
    let x = 10;
    for (const button of all(".legend button", figure)) {
      const color = style.getPropertyValue(button.dataset.color).trim();
      parts += `<circle cx="${x + 4}" cy="45" r="4" fill="${color}"/><text x="${x + 14}" y="49" font-size="12">${escaped(button.textContent.trim())}</text>`;
      x += 40 + 7.5 * button.textContent.trim().length;
    }
    const scale = figure.querySelector(".bar");
    if (scale) parts += `<text x="10" y="49" font-size="12">${escaped(scale.dataset.words)}</text>`;
    const w = columns * width + (columns - 1) * gap;
    parts += `<text x="10" y="24" font-size="16" font-weight="600">${escaped(figure.querySelector("h3").textContent)}</text>`;
    const font = escaped(style.getPropertyValue("--sans").trim());
    return { w, h: y, svg: `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${w}" height="${y}" viewBox="0 0 ${w} ${y}" font-family="${font}" fill="${style.getPropertyValue("--ink").trim()}"><rect width="100%" height="100%" fill="${style.getPropertyValue("--paper").trim()}"/>${parts}</svg>` };
  }
  async function png({ w, h, svg }) {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * w, 2 * h];
    canvas.getContext("2d").drawImage(image, 0, 0, 2 * w, 2 * h);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }
  for (const button of all(".tools button")) {
    button.addEventListener("click", async () => {
      const figure = button.closest("figure"), kind = button.dataset.kind, file = `${figure.id}.${kind}`;
      if (kind === "csv") save(csv(parsed(`numbers-${figure.id}`)), "text/csv", file);
      else if (kind === "json") save(JSON.stringify(parsed(`numbers-${figure.id}`)), "application/json", file);
      else if (kind === "svg") save((await whole(figure)).svg, "image/svg+xml", file);
      else if (kind === "png") save(await png(await whole(figure)), "image/png", file);
      else turn(figure, kind);
    });
  }

  redraw().then(() => { plots.filter((plot) => plot.layout?.scene).forEach(follow); root.dataset.ready = "yes"; });
})();
