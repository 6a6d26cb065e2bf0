
"use strict";
// Sorting and filtering of tables; the page is complete without this.
const LONG = 8;  // rows above which a table has a filter of its own
const start = /^[+\-−]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?(?=$|[\s\[%*!°])/i;
const number = text => start.test(text) ? parseFloat(text.match(start)[0].replaceAll(",", "").replace("−", "-")) : NaN;
const tables = [...document.querySelectorAll("main table")].map(table => ({
  table, rows: [...table.tBodies[0].rows], heads: [...table.tHead.rows[0].cells],
}));

function element(name, properties, ...inside) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...inside);
  return made;
}

// A click sorts from the top, the next from the bottom, the third restores the order of the page.
function sortable({table, rows, heads}) {
  if (rows.length < 2) return;
  heads.forEach((head, at) => {
    const text = row => row.cells[at].textContent.trim();
    const button = element("button", {type: "button", title: "Sort"}, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = {none: "descending", descending: "ascending", ascending: "none"}[head.getAttribute("aria-sort") || "none"];
      heads.forEach(other => other.removeAttribute("aria-sort"));
      const known = rows.filter(row => !isNaN(number(text(row))));
      const numeric = 2 * known.length >= rows.length, sign = next === "descending" ? -1 : 1;
      const less = (a, b) => {
        const [x, y] = [number(text(a)), number(text(b))];
        if (!numeric) return sign * text(a).localeCompare(text(b));
        return isNaN(x) - isNaN(y) || (isNaN(x) ? 0 : sign * (x - y));
      };
      if (next !== "none") head.setAttribute("aria-sort", next);
      table.tBodies[0].append(...(next === "none" ? rows : [...rows].sort(less)));
    });
  });
}

const bar = {
  detector: element("input", {type: "search", placeholder: "all"}),
  condition: element("select", {}, element("option", {value: ""}, "all")),
  said: element("span", {}),
};
bar.said.setAttribute("aria-live", "polite");

function filter() {
  const wanted = bar.detector.value.trim().toLowerCase(), condition = bar.condition.value;
  let hidden = 0;
  for (const {rows, heads, own, said} of tables) {
    const names = heads.map(head => head.textContent), first = names[0] === "detector", at = names.indexOf("condition");
    const word = own ? own.value.trim().toLowerCase() : "";
    for (const row of rows) {
      const cells = [...row.cells].map(cell => cell.textContent);
      row.hidden = Boolean(first && !cells[0].toLowerCase().includes(wanted))
        || Boolean(condition && at >= 0 && cells[at] !== condition) || !cells.join(" ").toLowerCase().includes(word);
      hidden += row.hidden;
    }
    if (said) said.textContent = word ? `${rows.filter(row => !row.hidden).length} of ${rows.length} rows` : "";
  }
  const parts = [...document.querySelectorAll("[data-condition]")];
  for (const part of parts) part.hidden = Boolean(condition && part.dataset.condition !== condition);
  for (const link of document.querySelectorAll("nav a")) {
    link.hidden = Boolean(document.getElementById(link.hash.slice(1))?.closest("[hidden]"));
  }
  const away = condition ? `, all conditions but ${condition}` : "";
  bar.said.textContent = hidden || away ? `hidden: ${hidden} rows${away}; charts show all detectors` : "";
  bar.line.classList.toggle("active", Boolean(hidden || away));
}

function filterable(one) {
  if (one.rows.length <= LONG) return;
  one.own = element("input", {type: "search"});
  one.said = element("span", {});
  one.said.setAttribute("aria-live", "polite");
  one.own.addEventListener("input", filter);
  const wide = one.table.closest(".wide");
  wide.before(element("div", {className: "filter"}, element("label", {}, "Rows with", one.own), one.said));
}

const names = new Set([...document.querySelectorAll("[data-condition]")].map(part => part.dataset.condition));
for (const name of names) bar.condition.append(element("option", {value: name}, name));
bar.line = element("div", {className: "filter bar"}, element("label", {}, "Detector", bar.detector),
  element("label", {}, "Condition", bar.condition), bar.said);
bar.line.setAttribute("role", "search");
bar.detector.addEventListener("input", filter);
bar.condition.addEventListener("change", filter);
if (names.size) document.querySelector("main").prepend(bar.line);
tables.forEach(sortable);
tables.forEach(filterable);
// What is wider than the page can be scrolled by keys.
for (const wide of document.querySelectorAll(".wide")) {
  if (wide.scrollWidth <= wide.clientWidth) continue;
  wide.tabIndex = 0;
  wide.setAttribute("role", "group");
  wide.setAttribute("aria-label", "scrolls to the side");
}
// A link to a part that is filtered away shows all of them again.
addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.closest("[hidden]")) return;
  bar.condition.value = "";
  filter();
  target.scrollIntoView();
});
// Paper shows everything.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => { one.open = true; }));
