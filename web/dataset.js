// Opens the dataset page: from a node's menu and its tool box, by command, and in the side bar.
import { app } from "../../scripts/app.js"
import { make, ready, say, toast, trying } from "./common.js"
import { bearers, bears, nodeThatRan, noteOrigins, remember, tellMissed, whenRan } from "./dataset_graph.js"
import { DatasetPage } from "./dataset_page.js"

const COMMAND = "Kiln.OpenDataset"
/** Pages that are open. @type {Set<DatasetPage>} */
const pages = new Set()

/** A page that is open hears what others write. @param {DatasetPage} page */
function watch(page) {
  pages.add(page)
  page.model.addEventListener("written", () => {
    for (const other of pages) if (other !== page) void other.model.look()
  })
}

/** @param {ComfyNode | null} node */
async function openDialog(node) {
  await prepare()
  const page = new DatasetPage()
  const close = make("button", { type: "button", title: say("Close (Esc)"), "aria-label": say("Close"), textContent: "✕" })
  const dialog = make("dialog", { class: "kiln kiln-dialog", "aria-label": say("Dataset") }, page.element)
  page.head.append(close)
  close.addEventListener("click", () => dialog.close())
  dialog.addEventListener("close", () => {
    pages.delete(page)
    page.remove()
    dialog.remove()
  })
  document.body.append(dialog)
  watch(page)
  dialog.showModal()
  await page.open(node)
  page.grid.element.focus()
}

/** @type {Promise<void> | null} */
let styled = null

/** Style and words, once. */
export async function prepare() {
  styled ??= new Promise((done) => {
    const sheet = make("link", { rel: "stylesheet", href: new URL("./dataset.css", import.meta.url).href })
    sheet.addEventListener("load", () => done())
    sheet.addEventListener("error", () => done())
    document.head.append(sheet)
  })
  await Promise.all([styled, ready()])
}

function chosenNode() {
  const chosen = Object.values(app.canvas?.selected_nodes ?? {}).find(bears)
  return chosen ?? null
}

/**
 * The page in the side bar, which follows what is selected; `last` is the node that was, so that a choice made on the
 * page itself stays until another node is selected.
 * @type {{ page: DatasetPage, watch: number, last: ComfyNode | null } | null}
 */
let side = null

/** @param {HTMLElement} container */
async function renderSide(container) {
  await prepare()
  closeSide()
  const page = new DatasetPage()
  page.element.classList.add("kiln-side")
  const large = make("button", { type: "button", title: say("Open in a dialog") }, "⤢")
  large.addEventListener("click", () => trying(() => openDialog(page.model.node)))
  page.head.append(large)
  container.replaceChildren(page.element)
  watch(page)
  side = { page, watch: window.setInterval(() => follow(page), 500), last: chosenNode() }
  await page.open(side.last ?? bearers().at(-1) ?? null)
}

/** @param {DatasetPage} page */
function follow(page) {
  const node = chosenNode()
  if (!side || !page.element.isConnected || node === side.last) return
  side.last = node
  if (!node || node === page.model.node) return
  void trying(() => page.open(node))
}

function closeSide() {
  if (!side) return
  clearInterval(side.watch)
  pages.delete(side.page)
  side.page.remove()
  side = null
}

/** A node has run, here or while its workflow was out of sight. @param {any} detail */
function ran(detail) {
  const rows = detail?.output?.kiln_datasets
  const node = rows && nodeThatRan(detail)
  if (!node) return
  remember(node, rows)
  for (const page of pages) void page.attempt(() => page.ran(node))
}

app.registerExtension({
  name: "kiln.dataset",

  commands: [
    {
      id: COMMAND,
      label: "Open Dataset (Kiln)",
      icon: "pi pi-images",
      function: () => trying(() => openDialog(chosenNode() ?? bearers().at(-1) ?? null)),
    },
  ],

  menuCommands: [{ path: ["Extensions", "LoRA Kiln"], commands: [COMMAND] }],

  getNodeMenuItems(node) {
    if (!bears(node)) return []
    return [{ content: say("Dataset (Kiln)"), callback: () => void trying(() => openDialog(node)) }]
  },

  getSelectionToolboxCommands(item) {
    return item?.comfyClass && bears(item) ? [COMMAND] : []
  },

  afterConfigureGraph() {
    tellMissed()
    for (const page of pages) void page.attempt(() => page.again())
  },

  async setup() {
    noteOrigins()
    whenRan(ran)
    await ready()
    app.extensionManager.registerSidebarTab({
      id: "kiln.dataset",
      icon: "pi pi-images",
      title: say("Dataset"),
      tooltip: say("Dataset (Kiln)"),
      type: "custom",
      render: (container) => void renderSide(container).catch((error) => toast("error", String(error))),
      destroy: closeSide,
    })
  },
})
