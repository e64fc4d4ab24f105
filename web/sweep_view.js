// The grid of a sweep: scores over pictures, a cell at a time or two compared, and a button to use a column's epoch.
import { address, brief, make, say, trying } from "./common.js"
import { Zoom } from "./zoom.js"

/** @typedef {{ epoch: number, strength: number, blocks: string, label: string, front: boolean, best: boolean,
 *   traits: number | null, flexibility: number | null, bleed: number | null, likeness: number | null,
 *   memorised: number | null, corrupt: number }} Column */
/** @typedef {{ key: string, size: [number, number], spoiled: boolean, about: Record<string, string | number> }} Cell */
/** @typedef {{ run: string, name: string, reason: string, bases: string[], columns: Column[], cells: Cell[][][],
 *   prompts: { label: string, prompt: string, seed: number }[], report: string }} Sweep */
/** @typedef {{ base: number, row: number, column: number }} Place */

/** Score, its words, and whether more of it is better. @type {[keyof Column, string, boolean][]} */
const SCORES = [
  ["traits", "trait recall", true],
  ["flexibility", "flexibility", true],
  ["bleed", "bleed", false],
  ["likeness", "likeness", true],
  ["memorised", "memorised", false],
  ["corrupt", "spoiled", false],
]
const SMALL = 128

/** The elements of one sweep. */
export class SweepView {
  /** @param {{ use: (column: Column) => Promise<void>, choose: (sweep: string) => void }} given */
  constructor(given) {
    this.given = given
    /** @type {Sweep | null} */
    this.sweep = null
    this.id = ""
    /** @type {Place | null} */
    this.picked = null
    this.comparing = false
    this.sweeps = make("select", { title: say("Sweeps of this run, the newest first") })
    this.sweeps.addEventListener("change", () => given.choose(this.sweeps.value))
    this.compare = make("button", { type: "button", onclick: () => this.startCompare() })
    this.compare.title = say("Then click two pictures (Shift and click does it at once)")
    this.reason = make("p", { class: "kiln-reason" })
    this.table = make("table", { class: "kiln-cells" })
    this.scroll = make("div", { class: "kiln-scroll" }, this.table)
    const nothing = say("Queue the graph: the pictures of all epochs are shown here, with their scores.")
    this.empty = make("p", { class: "kiln-empty" }, nothing)
    const head = make("div", { class: "kiln-head" }, this.sweeps, this.compare)
    this.element = make("div", { class: "kiln-sweep" }, head, this.reason, this.empty, this.scroll)
    this.show(null, "", [])
  }

  /**
   * @param {Sweep | null} sweep
   * @param {string} id the sweep's name
   * @param {{ name: string, changed: number }[]} all
   */
  show(sweep, id, all) {
    this.sweep = sweep
    this.id = id
    this.sweeps.hidden = all.length < 2
    const when = (/** @type {number} */ seconds) => new Date(seconds * 1000).toLocaleString()
    this.sweeps.replaceChildren(...all.map(({ name, changed }) => make("option", { value: name }, when(changed))))
    this.sweeps.value = id
    for (const element of [this.compare, this.reason, this.scroll]) element.hidden = !sweep
    this.empty.hidden = Boolean(sweep)
    this.pick(null)
    if (!sweep) return
    this.reason.textContent = sweep.reason
    const body = make("tbody", {}, ...this.scores(sweep), ...this.rows(sweep))
    this.table.replaceChildren(make("thead", {}, this.heads(sweep)), body)
  }

  /** @param {Sweep} sweep */
  heads(sweep) {
    const heads = sweep.columns.map((column) => {
      const kind = `${column.best ? "kiln-best" : ""} ${column.front ? "kiln-front" : ""}`
      const title = column.best ? say("chosen") : column.front ? say("no other is better in both scores") : ""
      // Presets of block weights are to look at: a saved file is the whole LoRA.
      const usable = column.epoch > 0 && !column.blocks
      return make("th", {}, make("div", { class: kind, title }, column.label), usable && this.useButton(column))
    })
    return make("tr", {}, make("th"), ...heads)
  }

  /** @param {Column} column */
  useButton(column) {
    const title = say("Write epoch {epoch} and strength {strength} into Save LoRA", column)
    const onclick = () => trying(() => this.given.use(column))
    return make("button", { type: "button", class: "kiln-use", title, onclick }, say("Use this epoch"))
  }

  /** @param {Sweep} sweep */
  scores(sweep) {
    return SCORES.flatMap(([score, words, more]) => {
      const values = sweep.columns.map((column) => /** @type {number | null} */ (column[score]))
      if (score === "corrupt" ? values.every((value) => !value) : values.every((value) => value == null)) return []
      const known = values.filter((value, place) => value != null && sweep.columns[place].epoch > 0)
      const best = more ? Math.max(.../** @type {number[]} */ (known)) : Math.min(.../** @type {number[]} */ (known))
      const cells = values.map((value, place) =>
        make("td", { class: value === best && sweep.columns[place].epoch ? "kiln-highest" : "" }, brief(value, 2)))
      return [make("tr", { class: "kiln-score" }, make("th", {}, say(words)), ...cells)]
    })
  }

  /** @param {Sweep} sweep */
  rows(sweep) {
    return sweep.bases.flatMap((name, base) => {
      const width = sweep.columns.length + 1
      const title = make("th", { colSpan: width, class: "kiln-best" }, name || say("wired model"))
      const head = sweep.bases.length > 1 && make("tr", {}, title)
      const rows = sweep.prompts.map((prompt, row) => {
        const cells = sweep.columns.map((_, column) => make("td", {}, this.cell({ base, row, column })))
        return make("tr", {}, make("th", { title: prompt.prompt }, prompt.label), ...cells)
      })
      return head ? [head, ...rows] : rows
    })
  }

  /** @param {Place} place */
  cell(place) {
    const cell = this.cellAt(place)
    const [width, height] = cell.size
    const scale = Math.min(1, SMALL / Math.max(width, height))
    const size = { width: Math.round(width * scale), height: Math.round(height * scale) }
    const image = make("img", { loading: "lazy", ...size, src: this.pictureOf(cell, SMALL), alt: this.titleOf(place) })
    const where = `${place.base}.${place.row}.${place.column}`
    const kind = `kiln-cell ${cell.spoiled ? "kiln-spoiled" : ""}`
    const onclick = (/** @type {MouseEvent} */ event) => this.clicked(place, event.shiftKey)
    return make("button", { type: "button", class: kind, data: { place: where }, onclick }, image)
  }

  /** @param {Place} place */
  cellAt({ base, row, column }) {
    return /** @type {Sweep} */ (this.sweep).cells[base][row][column]
  }

  /**
   * @param {Cell} cell
   * @param {number} [side]
   */
  pictureOf(cell, side) {
    return address(["runs", this.sweep?.run ?? "", "sweeps", this.id, cell.key], side ? { side } : {})
  }

  /** @param {Place} place */
  titleOf({ base, row, column }) {
    const sweep = /** @type {Sweep} */ (this.sweep)
    const model = sweep.bases.length > 1 ? `${sweep.bases[base] || say("wired model")} · ` : ""
    return `${model}${sweep.columns[column].label} · ${sweep.prompts[row].label}`
  }

  startCompare() {
    this.comparing = !this.comparing
    if (!this.comparing) this.pick(null)
    this.compare.textContent = this.comparing ? say("Click two pictures …") : say("Compare two")
  }

  /** @param {Place | null} place */
  pick(place) {
    this.picked = place
    if (!place) this.comparing = false
    this.compare.textContent = this.comparing ? say("Click two pictures …") : say("Compare two")
    const where = place && `${place.base}.${place.row}.${place.column}`
    for (const button of this.table.querySelectorAll("button.kiln-cell")) {
      button.classList.toggle("kiln-picked", button instanceof HTMLElement && button.dataset.place === where)
    }
  }

  /**
   * @param {Place} place
   * @param {boolean} shift
   */
  clicked(place, shift) {
    if (this.picked) {
      const first = this.picked
      this.pick(null)
      this.look([first, place])
    } else if (shift || this.comparing) {
      this.pick(place)
    } else {
      this.look([place])
    }
  }

  /**
   * One cell over the page, or two side by side. The arrow keys walk: of two, both go up and down, and the right one
   * sideways.
   * @param {Place[]} places
   */
  look(places) {
    const sweep = /** @type {Sweep} */ (this.sweep)
    const shown = places.map((place) => ({ ...place }))
    const paint = () => {
      // Another sweep may have come meanwhile.
      if (this.sweep !== sweep) {
        zoom.close()
        return
      }
      const pictures = shown.map((place) => {
        const cell = this.cellAt(place)
        return { source: this.pictureOf(cell), title: this.titleOf(place), about: cell.about }
      })
      zoom.show(pictures, this.actions(zoom, shown))
    }
    const zoom = new Zoom({
      walk: (way) => {
        const moved = way === "left" || way === "right" ? shown.slice(-1) : shown
        for (const place of moved) {
          if (way === "left") place.column = Math.max(0, place.column - 1)
          if (way === "right") place.column = Math.min(sweep.columns.length - 1, place.column + 1)
          if (way === "up") place.row = Math.max(0, place.row - 1)
          if (way === "down") place.row = Math.min(sweep.prompts.length - 1, place.row + 1)
        }
        paint()
      },
    })
    paint()
  }

  /**
   * @param {Zoom} zoom
   * @param {Place[]} shown
   */
  actions(zoom, shown) {
    const sweep = /** @type {Sweep} */ (this.sweep)
    const all = [...new Set(shown.map(({ column }) => sweep.columns[column]))]
    const columns = all.filter(({ epoch, blocks }) => epoch && !blocks)
    const uses = columns.map((column) => ({
      label: say("Use epoch {epoch} at {strength}", column),
      run: () => {
        zoom.close()
        trying(() => this.given.use(column))
      },
    }))
    if (shown.length > 1) return uses
    const compare = () => {
      zoom.close()
      this.comparing = true
      this.pick(shown[0])
    }
    return [...uses, { label: say("Compare with another"), run: compare }]
  }
}
