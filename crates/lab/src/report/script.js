// What the page does beyond showing: values of figures under the pointer and at the keys, tables that sort and search.
// Nothing is loaded, and without scripts everything can still be read.
"use strict";
for (const figure of document.querySelectorAll("figure")) {
  const svg = figure.querySelector("svg"), points = svg ? [...svg.querySelectorAll(".points circle")] : [];
  if (!points.length) continue;
  const said = points.map(point => { const title = point.querySelector("title"), text = title.textContent; title.remove(); return text; });
  const tip = figure.insertBefore(document.createElement("p"), figure.querySelector("figcaption"));
  tip.className = "tip";
  tip.setAttribute("role", "status");
  const idle = points.length + " points: hover, or focus the figure and use the arrow keys";
  tip.textContent = idle;
  svg.setAttribute("tabindex", "0");
  let at = -1;
  const show = index => {
    if (at >= 0) points[at].classList.remove("on");
    at = index;
    if (at >= 0) points[at].classList.add("on");
    tip.textContent = at < 0 ? idle : said[at];
  };
  points.forEach((point, index) => point.addEventListener("pointerenter", () => show(index)));
  svg.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step) return;
    event.preventDefault();
    show(at < 0 ? (step > 0 ? 0 : points.length - 1) : (at + step + points.length) % points.length);
  });
}
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], rows = [...body.rows];
  if (rows.length < 2) continue;
  const number = text => parseFloat(text.replace("\u2212", "-"));
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const texts = new Map(rows.map(row => [row, row.cells[column].textContent.trim()]));
      const compare = (a, b) => {
        const x = number(a), y = number(b);
        return isNaN(x) || isNaN(y) ? a.localeCompare(b, "en") : x - y;
      };
      const sorted = [...rows].sort((a, b) => compare(texts.get(a), texts.get(b)) * (down ? -1 : 1));
      body.append(...sorted);
    });
  });
  if (rows.length < 8) continue;
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "search " + rows.length + " rows";
  field.setAttribute("aria-label", "Search the rows of this table");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
  });
  table.parentElement.before(field);
}
