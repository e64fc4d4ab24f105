// Pictures over the whole page: one, or two side by side that are moved and enlarged together.
import { make, say } from "./common.js"

/** @typedef {{ source: string, title: string, about?: Record<string, string | number> }} Picture */
/** @typedef {{ label: string, run: () => void }} Action */
/** @typedef {"left" | "right" | "up" | "down"} Way */

const MOST = 32
const PIXELS_SEEN = 3
/** @type {Record<string, Way>} */
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" }

/** One view over the page; it is closed by Escape, its button, or a click beside the pictures. */
export class Zoom {
  /** @param {{ walk?: (way: Way) => void, closed?: () => void }} [given] `walk` hears of the arrow keys */
  constructor(given = {}) {
    this.given = given
    this.scale = 1
    this.x = 0
    this.y = 0
    /** @type {{ id: number, x: number, y: number, moved: boolean } | null} */
    this.held = null
    /** @type {HTMLImageElement[]} */
    this.images = []
    this.panes = make("div", { class: "kiln-zoom-panes" })
    this.words = make("div", { class: "kiln-zoom-words" })
    const onclick = () => this.close()
    const title = say("Close (Esc)")
    const close = make("button", { class: "kiln-zoom-close", type: "button", title, onclick }, "✕")
    this.element = make("dialog", { class: "kiln kiln-zoom", tabIndex: -1 }, this.panes, this.words, close)
    this.element.addEventListener("cancel", (event) => {
      event.preventDefault()
      this.close()
    })
    this.element.addEventListener("wheel", (event) => this.wheel(event), { passive: false })
    this.panes.addEventListener("pointerdown", (event) => this.hold(event))
    this.panes.addEventListener("pointermove", (event) => this.move(event))
    this.panes.addEventListener("pointerup", (event) => this.release(event))
    this.panes.addEventListener("pointercancel", () => (this.held = null))
    this.panes.addEventListener("dblclick", () => this.reset())
    // In front of the page's own keys, which would delete nodes or move the graph.
    this.key = (/** @type {KeyboardEvent} */ event) => this.pressed(event)
    this.before = document.activeElement
  }

  /**
   * Show these in place of what is shown; how far it is enlarged, and where, stays.
   * @param {Picture[]} pictures
   * @param {Action[]} [actions]
   */
  show(pictures, actions = []) {
    if (!this.element.isConnected) {
      document.body.append(this.element)
      document.addEventListener("keydown", this.key, true)
      this.element.showModal()
      this.element.focus()
    }
    this.images = pictures.map(({ source, title }) => make("img", { src: source, alt: title, draggable: false }))
    const figures = this.images.map((image, place) => {
      const view = make("div", { class: "kiln-zoom-view" }, image)
      return make("figure", {}, view, make("figcaption", {}, pictures[place].title))
    })
    this.panes.replaceChildren(...figures)
    const named = pictures.length > 1
    const said = pictures.flatMap(({ title, about }) => (about ? [aboutOf(title, about, named)] : []))
    const buttons = actions.map(({ label, run }) => make("button", { type: "button", onclick: run }, label))
    this.words.replaceChildren(...buttons, ...said)
    this.words.hidden = !said.length && !buttons.length
    this.place()
  }

  close() {
    if (!this.element.isConnected) return
    document.removeEventListener("keydown", this.key, true)
    this.element.close()
    this.element.remove()
    if (this.before instanceof HTMLElement) this.before.focus()
    this.given.closed?.()
  }

  reset() {
    this.scale = 1
    this.x = 0
    this.y = 0
    this.place()
  }

  place() {
    for (const image of this.images) {
      image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`
      image.style.imageRendering = this.scale > PIXELS_SEEN ? "pixelated" : "auto"
    }
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.stopPropagation()
    const view = event.target instanceof Element && event.target.closest(".kiln-zoom-view")
    if (!view) return
    event.preventDefault()
    const before = this.scale
    this.scale = Math.min(MOST, Math.max(1, before * Math.exp(-event.deltaY / 400)))
    // What lies under the pointer stays there.
    const box = view.getBoundingClientRect()
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2]
    this.x = x - ((x - this.x) * this.scale) / before
    this.y = y - ((y - this.y) * this.scale) / before
    if (this.scale === 1) [this.x, this.y] = [0, 0]
    this.place()
  }

  /** @param {PointerEvent} event */
  hold(event) {
    if (event.button !== 0) return
    this.held = { id: event.pointerId, x: event.clientX - this.x, y: event.clientY - this.y, moved: false }
    this.panes.setPointerCapture(event.pointerId)
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (this.held?.id !== event.pointerId) return
    const [x, y] = [event.clientX - this.held.x, event.clientY - this.held.y]
    this.held.moved ||= Math.hypot(x - this.x, y - this.y) > 3
    if (!this.held.moved) return
    this.x = x
    this.y = y
    this.place()
  }

  /** @param {PointerEvent} event */
  release(event) {
    const there = document.elementFromPoint(event.clientX, event.clientY)
    if (this.held && !this.held.moved && !(there instanceof HTMLImageElement)) this.close()
    this.held = null
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    event.stopPropagation()
    if (event.key === "Escape") this.close()
    else if (KEYS[event.key]) this.given.walk?.(KEYS[event.key])
    else if (event.key === "0") this.reset()
    else return
    event.preventDefault()
  }
}

/**
 * @param {string} title
 * @param {Record<string, string | number>} about
 * @param {boolean} named
 */
function aboutOf(title, about, named) {
  const rows = Object.entries(about).map(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))])
  return make("section", {}, named && make("h4", {}, title), make("dl", {}, ...rows.flat()))
}
