"use strict";
// The only script of the page: sorts and filters the claim table, saves the embedded data. All of it reads without.
const table = document.getElementById("claim-table");
if (table) {
  const body = table.tBodies[0], tools = document.getElementById("tools");
  const search = tools.querySelector("input"), output = tools.querySelector("output");
  const chips = [...tools.querySelectorAll("button")];
  const rows = [...body.rows];
  const texts = rows.map(row => row.textContent.toLowerCase());

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = chips.filter(chip => chip.ariaPressed === "true").map(chip => chip.dataset.verdict);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !(words.every(word => texts[i].includes(word)) &&
        (!verdicts.length || verdicts.includes(row.dataset.verdict)));
      shown += !row.hidden;
    });
    output.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  };
  search.addEventListener("input", filter);
  chips.forEach(chip => chip.addEventListener("click", () => {
    chip.ariaPressed = String(chip.ariaPressed !== "true");
    filter();
  }));
  tools.addEventListener("submit", event => event.preventDefault());
  tools.hidden = false;
  const later = ["not run", "counted"];
  const unrun = rows.filter(row => later.includes(row.dataset.verdict)).length;
  if (unrun > 100 && unrun < rows.length) {         // what was run first; the rest is a press away
    chips.filter(chip => !later.includes(chip.dataset.verdict)).forEach(chip => { chip.ariaPressed = "true"; });
    filter();
  }

  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    head.ariaSort = "none";
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending", sign = down ? -1 : 1;
      heads.forEach(other => { other.ariaSort = "none"; });
      head.ariaSort = down ? "descending" : "ascending";
      const keys = new Map(rows.map(row => [row, row.cells[column].dataset.sort]));
      const numeric = [...keys.values()].every(key => key === "" || !isNaN(key));
      const ordered = [...rows].sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (x === "" || y === "") return (x === "") - (y === "");      // what is missing comes last, either way
        if (!numeric) return sign * x.localeCompare(y, "en");
        const units = "byUnit" in head.dataset ? a.dataset.unit.localeCompare(b.dataset.unit) : 0;
        return units || sign * (x - y);                 // percents and counts are no one scale: percents first
      });
      body.append(...ordered);
    });
  });
}

const unfold = () => {           // a link into a folded configuration opens it
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", unfold);
unfold();

const download = document.getElementById("download");
const link = download.querySelector("a");
link.download = "report.json";
link.href = URL.createObjectURL(
  new Blob([document.getElementById("raw").textContent], {type: "application/json"}));
download.hidden = false;
