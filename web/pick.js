// Pictures to keep or reject, in Select Images and ControlNet Style Augment. A click writes a line into `by_hand`.
import { app } from "../../scripts/app.js"
import { addPanel, ask, keepGraph, later, make, registerPanel, route, say, setLeast, trying } from "./common.js"
import { prepare } from "./dataset.js"
import { nodeThatRan, whenRan } from "./dataset_graph.js"
import { Grid } from "./dataset_grid.js"
import { pictureAt } from "./dataset_model.js"

/** @typedef {import("./dataset_model.js").Picture} Picture */
/**
 * What was measured of a variant: why its scores reject it, if they do.
 * @typedef {{ why: string, score: number, lines: number, drift: Record<string, number> }} Judged
 */

const SELECT = "KilnSelectImages"
const NODES = [SELECT, "KilnControlNetStyleAugment"]
const KEPT = "kiln_pick"
/** Pixels: the panel's least before it has pictures, and with them, and the node's width then. */
const LEAST = 60
const HEIGHT = 320
const WIDTH = 420
const CELL = { width: 132, height: 164 }
const SIDE = 116

class Picker {
  /** @param {ComfyNode} node */
  constructor(node) {
    this.node = node
    this.id = ""
    /** @type {Picture[]} */
    this.pictures = []
    /** What the scores say; null for a source, and nothing at all where a filter decides. @type {(Judged | null)[]} */
    this.judged = []
    /** What is chosen by hand: kept or not, by name. @type {Record<string, boolean>} */
    this.hand = {}
    /** The places that filter or scores alone would keep. @type {Set<number>} */
    this.plain = new Set()
    /** The last writing. @type {Promise<void>} */
    this.writing = Promise.resolve()
    this.words = make("span", { class: "kiln-soft", role: "status" },
      say("Queue the graph, and its pictures are kept or rejected here with a click."))
    this.clear = make("button", { type: "button", hidden: true }, say("Take back all by hand"))
    this.grid = new Grid({
      ...CELL, label: say("Pictures to keep or reject"),
      fill: (cell, place) => this.fill(cell, place),
      picture: (place) => (this.pictures[place].mark ? pictureAt(this.id, this.pictures[place], place, { side: 256, crop: 1 }) : ""),
      act: (place, event) => this.act(place, event),
    })
    this.element = make("div", { class: "kiln-pick" },
      make("div", { class: "kiln-row" }, this.words, make("span", { class: "kiln-right" }, this.clear)), this.grid.element)
    this.element.addEventListener("keydown", (event) => event.stopPropagation())
    this.clear.addEventListener("click", () => trying(() =>
      this.write(() => Object.fromEntries(this.byHand.map((key) => [key, null])))))
    this.grid.element.hidden = true
    this.widget = addPanel(node, "pick", this.element, LEAST)
    this.soon = later(() => void trying(() => this.judge()), 200)
    for (const name of ["filter", "by_hand", "only_kept"]) this.watch(name)
    pickers.set(node, this)
  }

  /** Look for what the node has shown before: it may be loaded, pasted or cloned. */
  look() {
    return trying(async () => {
      const told = this.node.properties?.[KEPT]
      if (!told?.id) return
      const { pictures, error } = await ask(route("dataset", told.id))
      // A workflow from elsewhere: its pictures come with the next run.
      if (error) return
      await prepare()
      this.makeRoom()
      await this.open(told.id, pictures, told.judged ?? [])
    })
  }

  makeRoom() {
    if (!this.grid.element.hidden) return
    this.grid.element.hidden = false
    setLeast(this.widget, HEIGHT)
    const [width, height] = this.node.computeSize()
    this.node.setSize([Math.max(this.node.size[0], width, WIDTH), Math.max(this.node.size[1], height)])
    // Nothing else draws the canvas anew, and until then a panel has no place.
    this.node.setDirtyCanvas(true, true)
  }

  remove() {
    pickers.delete(this.node)
  }

  /** Judge anew when somebody writes into one of the node's own fields. @param {string} name */
  watch(name) {
    const widget = this.value(name)
    if (!widget) return
    const { soon } = this
    const before = widget.callback
    widget.callback = function changed(value, ...rest) {
      soon()
      return before?.call(this, value, ...rest)
    }
    widget.inputEl?.addEventListener("input", soon)
    widget.element?.addEventListener("input", soon)
  }

  /** @param {string} name */
  value(name) {
    return this.node.widgets?.find((widget) => widget.name === name)
  }

  /**
   * Show the pictures of a run.
   * @param {string} id
   * @param {Picture[]} pictures
   * @param {(Judged | null)[]} judged
   */
  async open(id, pictures, judged) {
    Object.assign(this, { id, judged, pictures })
    this.grid.show(pictures.map((_, at) => at))
    await this.judge()
  }

  /** What is kept as the fields stand now: the server reads them as the next run will. */
  async judge() {
    if (!this.id) return
    const scored = this.judged.length > 0
    const body = {
      filter: scored ? "" : String(this.value("filter")?.value ?? ""),
      by_hand: String(this.value("by_hand")?.value ?? ""),
      only_kept: !scored && this.value("only_kept")?.value === true,
    }
    const found = await ask(`${route("dataset", this.id)}/selection`, body)
    this.words.classList.toggle("kiln-bad", Boolean(found.error))
    if (found.error) {
      this.words.textContent = found.error
      return
    }
    this.hand = found.hand
    const plain = scored ? this.pictures.flatMap((_, at) => (this.judged[at] && !this.judged[at].why ? [at] : [])) : found.filtered
    this.plain = new Set(plain)
    this.tell()
  }

  get byHand() {
    return Object.keys(this.hand)
  }

  /** Whether a picture is kept as things stand. @param {number} place */
  isKept(place) {
    return this.hand[this.pictures[place].key] ?? this.plain.has(place)
  }

  tell() {
    const places = this.pictures.flatMap((_, at) => (this.judged.length && !this.judged[at] ? [] : [at]))
    const kept = places.filter((at) => this.isKept(at)).length
    const own = this.byHand.length
    const words = say("{kept} of {all} kept", { kept, all: places.length })
    this.words.textContent = own ? `${words}, ${say("{count} by hand", { count: own })}` : words
    this.clear.hidden = !own
    this.grid.refresh()
  }

  /** @param {HTMLElement} cell @param {number} place */
  fill(cell, place) {
    if (!cell.firstChild) {
      cell.append(
        make("div", { class: "kiln-thumb", style: { width: `${SIDE}px`, height: `${SIDE}px` } },
          make("div", { class: "kiln-frame" }, make("img", { alt: "", draggable: false }))),
        make("span", { class: "kiln-card-name" }), make("span", { class: "kiln-card-line" }))
    }
    const picture = this.pictures[place]
    const judged = this.judged[place]
    const isSource = this.judged.length > 0 && !judged
    const size = picture.crop ? [picture.crop[2] - picture.crop[0], picture.crop[3] - picture.crop[1]] : picture.size
    const scale = SIDE / Math.max(...size)
    const frame = /** @type {HTMLElement} */ (cell.querySelector(".kiln-frame"))
    frame.style.width = `${Math.round(size[0] * scale)}px`
    frame.style.height = `${Math.round(size[1] * scale)}px`
    const [name, line] = cell.querySelectorAll("span")
    name.textContent = isSource ? say("source") : styleOf(picture)
    line.textContent = judged ? `${judged.score.toFixed(2)} · ${say("lines")} ${judged.lines.toFixed(2)}` : picture.name
    const kept = !isSource && this.isKept(place)
    cell.classList.toggle("kiln-kept", kept)
    cell.classList.toggle("kiln-rejected", !isSource && !kept)
    cell.classList.toggle("kiln-hand", picture.key in this.hand)
    cell.setAttribute("aria-selected", String(kept))
    cell.title = [picture.key, judged?.why, judged && driftOf(judged)].filter(Boolean).join("\n")
    const state = isSource ? say("source") : kept ? say("kept") : say("rejected")
    cell.setAttribute("aria-label", `${picture.key}: ${state}`)
  }

  /** Flip a picture; back at what filter or scores say, its line goes. @param {number} place @param {Event} event */
  act(place, event) {
    if (event instanceof KeyboardEvent && ![" ", "Enter"].includes(event.key)) return
    if (this.judged.length && !this.judged[place]) return
    void trying(() => this.write(() => {
      const wanted = !this.isKept(place)
      return { [this.pictures[place].key]: wanted === this.plain.has(place) ? null : wanted }
    }))
  }

  /**
   * Write choices into the node, one after the other: each is made from what the one before has left.
   * @param {() => Record<string, boolean | null>} choices
   */
  write(choices) {
    const work = async () => {
      const widget = this.value("by_hand")
      if (!widget) return
      if (this.node.inputs?.some(({ name, link }) => name === "by_hand" && link != null)) {
        throw new Error(say("by_hand comes by wire, so a click cannot change it. Take the wire off, or choose there."))
      }
      const found = await ask("/pick", { by_hand: String(widget.value ?? ""), choices: choices() })
      if (found.error) throw new Error(found.error)
      widget.value = found.by_hand
      widget.callback?.(found.by_hand)
      this.node.setDirtyCanvas(true, true)
      keepGraph({ undo: true })
      await this.judge()
    }
    this.writing = this.writing.catch(() => {}).then(work)
    return this.writing
  }
}

/** The step that made a picture, as the name of its cell. @param {Picture} picture */
function styleOf(picture) {
  const step = picture.steps.at(-1) ?? ""
  const style = /^style:(.*) (seed \d+) of /.exec(step)
  return style ? `${style[2]} · ${style[1]}` : picture.name
}

/** @param {Judged} judged */
function driftOf({ drift }) {
  return `${say("colour drift")}: ${Object.entries(drift).map(([part, value]) => `${part} ${value}`).join(", ")}`
}

/** @type {WeakMap<ComfyNode, Picker>} */
const pickers = new WeakMap()

for (const kind of NODES) registerPanel(`kiln.pick.${kind}`, kind, (node) => new Picker(node), { width: 0, height: 0 })

app.registerExtension({
  name: "kiln.pick",

  setup() {
    whenRan((detail) => {
      const [told] = detail?.output?.kiln_pick ?? []
      const node = told && nodeThatRan(detail)
      const picker = node && pickers.get(node)
      if (!picker) return
      node.properties[KEPT] = { id: told.id, judged: detail.output.kiln_judged ?? [] }
      keepGraph()
      void picker.look()
    })
  },
})
