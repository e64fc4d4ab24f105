// The dataset page: pictures, tags, filter and edits of what a node gives; in a dialog, or narrow in the side bar.
import { app } from "../../scripts/app.js"
import { make, say } from "./common.js"
import { CaptionPanel } from "./dataset_caption.js"
import { CARD, fillCard } from "./dataset_card.js"
import { EditForm } from "./dataset_edit.js"
import { bearers, outputsOf, titleOf } from "./dataset_graph.js"
import { Grid } from "./dataset_grid.js"
import { DatasetModel } from "./dataset_model.js"
import { quoted, TagList, termsOf } from "./dataset_tags.js"
import { confirmWriteBack } from "./dataset_write.js"

export class DatasetPage {
  constructor() {
    this.model = new DatasetModel()
    this.whole = make("input", { type: "checkbox", checked: true })
    this.grid = new Grid({
      ...CARD, label: say("Pictures"),
      fill: (cell, place) => fillCard(cell, this.model, place, this.whole.checked),
      picture: (place) => (this.model.pictures[place]?.mark ? this.model.picture(place, 256, !this.whole.checked) : ""),
      act: (place, event) => this.act(place, event),
      moved: (place) => this.model.setFocus(place),
    })
    this.tags = new TagList(this.model, { only: (tag, without) => this.only(tag, without), drop: (tag) => this.drop(tag) })
    this.form = new EditForm(this.model)
    this.caption = new CaptionPanel(this.model)
    this.chooser = make("select", { "aria-label": say("Whose pictures") })
    this.filter = make("input", {
      type: "text", class: "kiln-filter", spellcheck: false, "aria-label": say("Filter"),
      placeholder: say("Filter: 1girl AND NOT hat, group:dress*, tokens:>75"),
    })
    this.wrong = make("div", { class: "kiln-bad", role: "alert", hidden: true })
    this.count = make("span", { class: "kiln-soft", role: "status" })
    this.undo = button("↶", say("Undo (Ctrl+Z)"), () => this.model.undo())
    this.redo = button("↷", say("Redo (Ctrl+Shift+Z)"), () => this.model.redo())
    this.writing = button(say("Write back…"), say("Write these captions into the caption files"), () =>
      void this.attempt(() => confirmWriteBack(this.model, (work) => void this.attempt(work))))
    this.note = make("div", { class: "kiln-soft kiln-wrap", role: "status", hidden: true })
    /** @type {{ node: ComfyNode, slot: number | undefined, words: string }[]} */
    this.choices = []
    /** The place of the last click, where a range begins. @type {number | null} */
    this.last = null
    this.list = make("span", { class: "kiln-soft" })
    this.trouble = make("p", { class: "kiln-empty", hidden: true })
    this.head = make("header", { class: "kiln-row" }, this.chooser, this.filter, this.count,
      make("label", { title: say("Off: pictures as they are cropped for training") }, this.whole, say("whole pictures")),
      this.list, this.undo, this.redo, this.writing)
    this.main = make("div", { class: "kiln-columns" }, this.tags.element,
      make("div", { class: "kiln-middle" }, this.form.element, this.grid.element), this.caption.element)
    this.element = make("div", { class: "kiln kiln-dataset", tabIndex: -1 }, this.head, this.note, this.wrong,
      this.trouble, this.main)
    this.listen()
  }

  listen() {
    this.model.addEventListener("change", () => this.show())
    this.filter.addEventListener("input", () => this.find())
    this.whole.addEventListener("change", () => this.grid.refresh())
    this.chooser.addEventListener("change", () => this.choose())
    this.element.addEventListener("keydown", (event) => this.press(event))
    this.element.addEventListener("focusin", (event) => keepUndo(event.target))
    for (const kind of ["pointerdown", "wheel", "copy", "paste"]) {
      this.element.addEventListener(kind, (event) => event.stopPropagation(), { passive: true })
    }
  }

  /**
   * Show what a node gives; without one the page asks whose.
   * @param {ComfyNode | null} node
   */
  async open(node) {
    this.filter.value = this.model.filter = ""
    if (node) {
      const opened = this.model.open(node)
      this.offer(node)
      await opened
    } else {
      this.offer(null)
      this.model.close()
    }
  }

  /** The graph was loaded anew, as its own undo does: the same node is another object now. */
  async again() {
    const before = this.model.node
    const node = before && (before.graph ?? app.graph).getNodeById(before.id)
    if (node && node.comfyClass === before.comfyClass) {
      this.offer(node)
      await this.model.follow(node)
    } else {
      await this.open(null)
    }
  }

  /**
   * Do something and tell what came of it: the page's own messages would lie behind the dialog.
   * @param {() => Promise<string | void>} work
   */
  async attempt(work) {
    let words = ""
    try {
      words = (await work()) ?? ""
    } catch (error) {
      words = error instanceof Error ? error.message : String(error)
    }
    this.note.textContent = words
    this.note.hidden = !words
  }

  find() {
    this.model.setFilter(this.filter.value)
    // What is on trial is about what the filter finds.
    this.model.setTrial(this.form.edit())
  }

  /** What changed in the graph or on the server. @param {ComfyNode} node that has run */
  async ran(node) {
    if (this.model.base?.node === node || this.model.node === node) await this.model.load()
  }

  /** @param {ComfyNode | null} node */
  offer(node) {
    this.choices = bearers().flatMap((each) => {
      const slots = outputsOf(each)
      return slots.length < 2
        ? [{ node: each, slot: slots[0], words: titleOf(each) }]
        : slots.map((slot) => ({ node: each, slot, words: `${titleOf(each)}: ${each.outputs[slot].label ?? each.outputs[slot].name}` }))
    })
    const options = this.choices.map(({ words }, at) => make("option", { value: String(at) }, words))
    if (!node) options.unshift(make("option", { value: "" }, say("Choose a node")))
    this.chooser.replaceChildren(...options)
    const { slot } = this.model
    const mine = this.choices.filter((choice) => choice.node === node)
    const at = this.choices.indexOf(mine.find((choice) => choice.slot === slot) ?? mine[0])
    this.chooser.value = at < 0 ? "" : String(at)
  }

  choose() {
    const choice = this.choices[Number(this.chooser.value)]
    if (choice && this.chooser.value) void this.attempt(() => this.model.open(choice.node, choice.slot))
  }

  show() {
    const { model } = this
    const { shown, filter } = model.seen
    const lost = model.trouble || (model.node ? "" : say("Choose a node that gives a dataset."))
    this.trouble.hidden = !lost
    this.trouble.textContent = lost
    this.main.hidden = Boolean(lost)
    this.wrong.textContent = filter.error ?? model.seen.edits.error ?? ""
    this.wrong.hidden = !this.wrong.textContent
    this.filter.ariaInvalid = String(Boolean(filter.error))
    this.count.textContent = say("{shown} of {all}", { shown: shown.length, all: model.pictures.length })
    this.list.textContent = model.edit
      ? say("{count} edits in {node}", { count: model.edits.length, node: titleOf(model.edit) })
      : say("edits go into a new Edit Tags")
    this.undo.disabled = !model.past.length
    this.redo.disabled = !model.future.length
    this.writing.disabled = !model.id || Boolean(model.broken)
    if (String(this.grid.items) === String(shown)) this.grid.refresh()
    else this.grid.show(shown)
    this.tags.show()
    this.form.show()
    this.caption.show()
  }

  /**
   * Add a tag to the filter, or take it out again.
   * @param {string} tag
   * @param {boolean} without
   */
  only(tag, without) {
    const term = without ? `NOT ${quoted(tag)}` : quoted(tag)
    const terms = termsOf(this.filter.value)
    const others = terms.filter((each) => each !== term)
    this.filter.value = (others.length < terms.length ? others : [...terms, term]).join(" AND ")
    this.form.take(tag)
    this.find()
  }

  /** Remove a tag from the pictures that are meant. @param {string} tag */
  drop(tag) {
    if (this.model.broken || this.model.seen.filter.error) return
    this.model.apply({ do: "remove", tags: tag, ...this.model.scope })
  }

  /** @param {number} place @param {KeyboardEvent | MouseEvent} event */
  act(place, event) {
    const { selected } = this.model
    if (event instanceof MouseEvent ? event.ctrlKey || event.metaKey : event.key === " ") {
      if (!selected.delete(place)) selected.add(place)
    } else if (event instanceof MouseEvent && event.shiftKey && this.last != null && this.grid.items.includes(this.last)) {
      const { items } = this.grid
      const [from, to] = [items.indexOf(this.last), items.indexOf(place)].sort((a, b) => a - b)
      for (const each of items.slice(from, to + 1)) selected.add(each)
    } else if (event instanceof MouseEvent) {
      selected.clear()
    } else if (event.key === "Enter") {
      this.caption.text.focus()
    } else {
      return
    }
    this.last = place
    this.model.setTrial(this.form.edit())
    this.model.changed()
  }

  /** Keys of the page stay here: outside of it the same ones delete nodes and undo the graph. @param {KeyboardEvent} event */
  press(event) {
    event.stopPropagation()
    const { target } = event
    const typing = target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && target.type === "text")
    const combined = event.ctrlKey || event.metaKey
    const key = event.key.toLowerCase()
    if (combined && !typing && (key === "z" || key === "y")) {
      if (key === "y" || event.shiftKey) this.model.redo()
      else this.model.undo()
    } else if (combined && key === "a" && !typing) {
      this.model.selected = new Set(this.grid.items)
      this.model.setTrial(this.form.edit())
      this.model.changed()
    } else if (event.key === "/" && !typing) {
      this.filter.focus()
    } else if (event.key === "Escape" && this.model.selected.size) {
      this.model.selected.clear()
      this.model.setTrial(this.form.edit())
      this.model.changed()
    } else {
      return
    }
    event.preventDefault()
  }

  remove() {
    this.caption.keep()
    this.grid.remove()
    this.tags.grid.remove()
    this.element.remove()
  }
}

/**
 * The host's own undo listens to every key before we do, and leaves alone what looks like a field of text.
 * @param {EventTarget | null} target
 */
function keepUndo(target) {
  if (!(target instanceof HTMLElement) || target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement) return
  Object.defineProperty(target, "type", { value: "textarea", configurable: true })
}

/**
 * @param {string} words
 * @param {string} title
 * @param {() => void} work
 */
function button(words, title, work) {
  const element = make("button", { type: "button", title, "aria-label": title }, words)
  element.addEventListener("click", work)
  return element
}
