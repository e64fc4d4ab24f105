// A dataset as the page has it: what the server says of its pictures, and the edits that Edit Tags holds.
import { address, ask, keepGraph, later, route, say } from "./common.js"
import { insertEdit, subjectOf, titleOf, toldOf, wordsOfNone } from "./dataset_graph.js"
import { sizesOf } from "./dataset_recipe.js"

/**
 * @typedef {{ key: string, name: string, group: string, size: [number, number], bucket: [number, number],
 *   crop: [number, number, number, number] | null, repeats: number, reg: boolean, masked: boolean, steps: string[],
 *   mark: string, tags: string[], prose: string }} Picture
 * @typedef {{ tags: string[], prose: string }} Caption
 * @typedef {Record<string, any>} Edit
 * @typedef {{ words: string, meant: number, changed: number, missing: string[] }} Done
 * @typedef {{ error?: string, done?: Done[], captions?: Record<string, Caption> }} Tried
 * @typedef {{ id: string, pictures: Picture[] }} Subject
 * @typedef {{ shown: number[], tags: [string, number][], captions: Record<string, Caption>, edits: Tried, trial: Tried,
 *   filter: { error?: string } }} Seen
 */


/** Tells of a `change` whenever something that is shown is another, and of `written` when it wrote the list. */
export class DatasetModel extends EventTarget {
  constructor() {
    super()
    /** @type {ComfyNode | null} */
    this.node = null
    /** Which of its outputs; undefined is the first. @type {number | undefined} */
    this.slot = undefined
    /** @type {import("./dataset_graph.js").Source | null} */
    this.base = null
    /** @type {ComfyNode | null} */
    this.edit = null
    this.id = ""
    /** @type {Picture[]} */
    this.pictures = []
    /** @type {Edit[]} */
    this.edits = []
    /** @type {Edit[][]} */
    this.past = []
    /** @type {Edit[][]} */
    this.future = []
    this.filter = ""
    /** @type {Edit | null} */
    this.trial = null
    /** Why there is nothing to see, or nothing to edit. */
    this.trouble = ""
    /** @type {Set<number>} */
    this.selected = new Set()
    this.focus = 0
    this.seen = nothing()
    this.soon = later(() => void this.look(), 120)
    /** @type {AbortController | null} */
    this.asking = null
    /** Counts the questions for pictures: the last one's answer is taken. */
    this.turn = 0
    /** Whether one of them is on its way: what it brings is looked at then. */
    this.loading = false
    /** Pictures that have come, and of which it is not known yet what is said of them. @type {Subject | null} */
    this.coming = null
    /** Why the list in the node cannot be written to. */
    this.broken = ""
  }

  changed() {
    this.dispatchEvent(new Event("change"))
  }

  /**
   * Show what a node gives.
   * @param {ComfyNode} node
   * @param {number} [slot] which of its outputs
   */
  async open(node, slot) {
    const { base, edit } = subjectOf(node, slot)
    Object.assign(this, { node, slot, base, edit, past: [], future: [], trial: null, focus: 0, selected: new Set() })
    this.seen = nothing()
    this.read()
    await this.load()
  }

  /** Go on with the same node of a graph that was loaded anew: filter, selection and output stay. @param {ComfyNode} node */
  async follow(node) {
    const { base, edit } = subjectOf(node, this.slot)
    Object.assign(this, { node, base, edit })
    this.read()
    await this.load()
  }

  /** Show nothing: what was shown belongs to a graph that is gone. */
  close() {
    this.turn += 1
    this.asking?.abort()
    Object.assign(this, { node: null, slot: undefined, base: null, edit: null, edits: [], past: [], future: [], trial: null })
    this.selected = new Set()
    this.lack("")
  }

  /** Fetch the pictures anew, as after a run. What is shown stays until they are there with all that is said of them. */
  async load() {
    const told = this.base && toldOf(this.base)
    this.turn += 1
    const { turn } = this
    this.asking?.abort()
    Object.assign(this, { loading: Boolean(told), coming: null })
    if (!told) {
      this.lack(this.base
        ? say("{node} has not run yet. Queue the workflow once, and its pictures are here.", { node: titleOf(this.base.node) })
        : wordsOfNone(this.node))
      return
    }
    try {
      const { pictures } = await this.fetch(told.id)
      if (turn !== this.turn) return
      this.loading = false
      if (!pictures.length) this.lack(say("This dataset holds no pictures."))
      else await this.look({ id: told.id, pictures })
    } catch (error) {
      if (turn === this.turn) this.lack(error instanceof Error ? error.message : String(error))
    }
  }

  /** The pictures of a dataset; a recipe that cannot be read only takes its buckets away. @param {string} id */
  async fetch(id) {
    const path = route("dataset", id)
    const sizes = this.node ? sizesOf(this.node) : ""
    const found = await ask(path + sizes).catch((error) => {
      if (!sizes) throw error
      return ask(path)
    })
    if (found.error) throw new Error(found.error)
    return found
  }

  /** There is nothing to see, for a reason. @param {string} words */
  lack(words) {
    Object.assign(this, { id: "", pictures: [], seen: nothing(), trouble: words, loading: false, coming: null })
    this.changed()
  }

  /**
   * Ask what edits, edits on trial and filter come to, of new pictures or of those that are there or coming. The last
   * question counts.
   * @param {Subject} [fresh]
   */
  async look(fresh) {
    if (fresh) this.coming = fresh
    const of = this.coming ?? { id: this.id, pictures: this.pictures }
    if (this.loading || !of.id || !of.pictures.length) return
    this.reread()
    this.asking?.abort()
    const asking = new AbortController()
    this.asking = asking
    try {
      const seen = await this.question(of.id, this.trial, asking.signal)
      if (this.asking !== asking) return
      if (of.id !== this.id) Object.assign(this, { focus: 0, selected: new Set() })
      Object.assign(this, { ...of, seen, trouble: "", coming: null })
      this.changed()
    } catch (error) {
      if (asking.signal.aborted) return
      this.trouble = error instanceof Error ? error.message : String(error)
      this.changed()
    }
  }

  /**
   * What the server says of the edits, with one on trial.
   * @param {string} id
   * @param {Edit | null} trial
   * @param {AbortSignal} [signal]
   * @returns {Promise<Seen>}
   */
  question(id, trial, signal) {
    const body = { edits: textOf(this.edits), trial: trial ? JSON.stringify([trial]) : "", filter: this.filter }
    return ask(`${route("dataset", id)}/look`, body, signal)
  }

  /** @param {number} place @returns {Caption} */
  caption(place) {
    return this.seen.captions[place] ?? this.pictures[place]
  }

  /** What the edit on trial would make of a caption; null where it stays. @param {number} place */
  tried(place) {
    return this.seen.trial.captions?.[place] ?? null
  }

  /** The pictures that an edit is about: those that are selected, else those that the filter finds. */
  get meant() {
    return this.selected.size ? [...this.selected] : this.seen.shown
  }

  /** What of an edit says which pictures it is about. @returns {Edit} */
  get scope() {
    if (this.selected.size) return { records: [...this.selected].sort((a, b) => a - b).map((i) => this.pictures[i].key) }
    return this.filter.trim() ? { where: this.filter.trim() } : {}
  }

  /** @param {string} text */
  setFilter(text) {
    this.filter = text
    this.selected.clear()
    this.soon()
  }

  /** @param {Edit | null} edit */
  setTrial(edit) {
    this.trial = edit
    this.soon()
  }

  /** @param {number} place */
  setFocus(place) {
    if (place === this.focus) return
    this.focus = place
    this.changed()
  }

  /**
   * Write an edit into the list of Edit Tags; a caption by hand takes the place of the one before for the same picture.
   * @param {Edit} edit
   */
  apply(edit) {
    this.reread()
    const last = this.edits.at(-1)
    const again = edit.do === "set" && last?.do === "set" && String(last.records) === String(edit.records)
    this.change([...(again ? this.edits.slice(0, -1) : this.edits), edit])
  }

  undo() {
    this.reread()
    const before = this.past.pop()
    if (!before) return
    this.future.push(this.edits)
    this.write(before)
  }

  redo() {
    this.reread()
    const next = this.future.pop()
    if (!next) return
    this.past.push(this.edits)
    this.write(next)
  }

  /** @param {Edit[]} edits */
  change(edits) {
    this.past.push(this.edits)
    this.future = []
    this.write(edits)
  }

  /** Why an edit cannot be applied; empty when it can. @param {Edit} edit */
  async fault(edit) {
    return (await this.question(this.id, edit)).trial.error ?? ""
  }

  /** What writing the captions back would do. @returns {Promise<any>} */
  planWriteBack() {
    return ask(`${route("dataset", this.id)}/write_plan`, { edits: textOf(this.edits) })
  }

  /** Do what was planned and confirmed. @param {string} mark @returns {Promise<any>} */
  writeBack(mark) {
    return ask(`${route("dataset", this.id)}/write_back`, { edits: textOf(this.edits), mark })
  }

  /**
   * The address of a small picture.
   * @param {number} place
   * @param {number} side 128, 256, 512 or 1024
   * @param {boolean} [cropped] the part that is trained on
   */
  picture(place, side, cropped = false) {
    return pictureAt(this.id, this.pictures[place], place, { side, crop: cropped ? 1 : 0 })
  }

  /** Take the list anew where somebody else has written it, by hand or on another page: their edits stay. */
  reread() {
    if (this.node && !(this.edit && this.edit.graph?.getNodeById(this.edit.id) === this.edit)) {
      this.edit = subjectOf(this.node, this.slot).edit
    }
    const before = textOf(this.edits)
    this.read()
    if (textOf(this.edits) !== before) Object.assign(this, { past: [], future: [] })
  }

  /** Take the list as it stands in the node. */
  read() {
    this.edits = []
    this.broken = ""
    const widget = this.edit?.widgets?.find(({ name }) => name === "edits")
    if (this.edit?.inputs?.some((slot) => slot.name === "edits" && slot.link != null)) {
      this.broken = say("The edits of {node} come over a wire; take it away to edit here.", { node: titleOf(this.edit) })
      return
    }
    try {
      const list = JSON.parse(String(widget?.value ?? "").trim() || "[]")
      if (!Array.isArray(list)) throw new Error("no list")
      this.edits = list
    } catch {
      this.broken = say("The list in {node} cannot be read; mend it there first.", {
        node: this.edit ? titleOf(this.edit) : "",
      })
    }
  }

  /** @param {Edit[]} edits */
  write(edits) {
    if (!this.base || this.broken) return
    try {
      this.edit ??= insertEdit(this.base)
    } catch (error) {
      this.broken = error instanceof Error ? error.message : String(error)
      this.changed()
      return
    }
    this.edits = edits
    this.trial = null
    const widget = this.edit.widgets?.find(({ name }) => name === "edits")
    if (widget) {
      widget.value = textOf(edits)
      widget.callback?.(widget.value)
    }
    this.edit.setDirtyCanvas(true, true)
    keepGraph({ undo: true })
    this.dispatchEvent(new Event("written"))
    void this.look()
  }
}

/** What is seen before there is an answer. @returns {Seen} */
function nothing() {
  return { shown: [], tags: [], captions: {}, edits: {}, trial: {}, filter: {} }
}

/**
 * A list of edits as text, one a line.
 * @param {Edit[]} edits
 */
export function textOf(edits) {
  return edits.length ? `[\n${edits.map((edit) => JSON.stringify(edit)).join(",\n")}\n]` : "[]"
}

/**
 * @param {string} id
 * @param {{ mark: string }} picture
 * @param {number} place
 * @param {{ side: number, crop: number }} query
 */
export function pictureAt(id, picture, place, query) {
  return address(["dataset", id, "picture", String(place)], { ...query, mark: picture.mark })
}
