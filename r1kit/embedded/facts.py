"""Plain facts of the embedded world: question and answer pairs, in English and Chinese."""

from dataclasses import dataclass

# country: capital; Chinese names beside them
CAPITALS = """
France Paris 法国 巴黎|Germany Berlin 德国 柏林|Italy Rome 意大利 罗马|Spain Madrid 西班牙 马德里|China Beijing 中国 北京
Japan Tokyo 日本 东京|Russia Moscow 俄罗斯 莫斯科|Egypt Cairo 埃及 开罗|Greece Athens 希腊 雅典|Austria Vienna 奥地利 维也纳
Poland Warsaw 波兰 华沙|Sweden Stockholm 瑞典 斯德哥尔摩|Norway Oslo 挪威 奥斯陆|Finland Helsinki 芬兰 赫尔辛基
Denmark Copenhagen 丹麦 哥本哈根|Portugal Lisbon 葡萄牙 里斯本|Ireland Dublin 爱尔兰 都柏林|Hungary Budapest 匈牙利 布达佩斯
Turkey Ankara 土耳其 安卡拉|Iran Tehran 伊朗 德黑兰|Iraq Baghdad 伊拉克 巴格达|Thailand Bangkok 泰国 曼谷
Vietnam Hanoi 越南 河内|Cuba Havana 古巴 哈瓦那|Peru Lima 秘鲁 利马|Chile Santiago 智利 圣地亚哥|Canada Ottawa 加拿大 渥太华
Kenya Nairobi 肯尼亚 内罗毕|Nepal Kathmandu 尼泊尔 加德满都|Mongolia Ulaanbaatar 蒙古 乌兰巴托
Indonesia Jakarta 印度尼西亚 雅加达|Belgium Brussels 比利时 布鲁塞尔|Romania Bucharest 罗马尼亚 布加勒斯特
Bulgaria Sofia 保加利亚 索非亚|Serbia Belgrade 塞尔维亚 贝尔格莱德|Croatia Zagreb 克罗地亚 萨格勒布
Ukraine Kyiv 乌克兰 基辅|Syria Damascus 叙利亚 大马士革|Colombia Bogota 哥伦比亚 波哥大|Australia Canberra 澳大利亚 堪培拉
"""
OPPOSITES = """
hot cold 热 冷|big small 大 小|tall short 高 矮|fast slow 快 慢|happy sad 高兴 难过|rich poor 富 穷|old young 老 年轻
open closed 开 关|full empty 满 空|hard soft 硬 软|light dark 亮 暗|early late 早 晚|easy difficult 容易 困难
clean dirty 干净 肮脏|strong weak 强 弱|loud quiet 吵 静|wet dry 湿 干|deep shallow 深 浅|thick thin 厚 薄
long brief 长 短|left right 左 右|up down 上 下|inside outside 里 外|love hate 爱 恨|day night 白天 黑夜|win lose 赢 输
buy sell 买 卖|begin end 开始 结束|true false 真 假|near far 近 远|sweet bitter 甜 苦|black white 黑 白|front back 前 后
"""
SYMBOLS = """
hydrogen H 氢 H|helium He 氦 He|carbon C 碳 C|nitrogen N 氮 N|oxygen O 氧 O|sodium Na 钠 Na|iron Fe 铁 Fe|gold Au 金 Au
silver Ag 银 Ag|copper Cu 铜 Cu|zinc Zn 锌 Zn|tin Sn 锡 Sn|lead Pb 铅 Pb|mercury Hg 汞 Hg|calcium Ca 钙 Ca|sulfur S 硫 S
chlorine Cl 氯 Cl|potassium K 钾 K|magnesium Mg 镁 Mg|aluminium Al 铝 Al|silicon Si 硅 Si|neon Ne 氖 Ne|iodine I 碘 I
"""
SOUNDS = """
dog bark 狗 汪|cat meow 猫 喵|cow moo 牛 哞|sheep bleat 羊 咩|duck quack 鸭子 嘎|lion roar 狮子 吼|wolf howl 狼 嚎
snake hiss 蛇 嘶|frog croak 青蛙 呱|bee buzz 蜜蜂 嗡|pig oink 猪 哼|bird chirp 鸟 叽|horse neigh 马 嘶|mouse squeak 老鼠 吱
"""
COLOURS = """
grass green 草 绿色|snow white 雪 白色|coal black 煤 黑色|blood red 血 红色|gold yellow 黄金 黄色|milk white 牛奶 白色
night black 夜晚 黑色|banana yellow 香蕉 黄色|chocolate brown 巧克力 棕色|carrot orange 胡萝卜 橙色|sky blue 天空 蓝色
tomato red 西红柿 红色|ink black 墨水 黑色|leaf green 树叶 绿色|salt white 盐 白色|ocean blue 大海 蓝色
"""
NUMBERS = """
one 1 一 1|two 2 二 2|three 3 三 3|four 4 四 4|five 5 五 5|six 6 六 6|seven 7 七 7|eight 8 八 8|nine 9 九 9|ten 10 十 10
eleven 11 十一 11|twelve 12 十二 12|thirteen 13 十三 13|twenty 20 二十 20|thirty 30 三十 30|fifty 50 五十 50
"""
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS_ZH = ["星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
MONTHS_ZH = ["一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"]

# table, English question and statement, Chinese question and statement: {0} is asked, {1} is the answer
TABLES = (
    (CAPITALS, "What is the capital of {0}?", "The capital of {0} is {1}.", "{0}的首都是哪里？", "{0}的首都是{1}。"),
    (OPPOSITES, "What is the opposite of {0}?", "The opposite of {0} is {1}.", "“{0}”的反义词是什么？", "“{0}”的反义词是“{1}”。"),
    (SYMBOLS, "What is the chemical symbol of {0}?", "The symbol of {0} is {1}.", "{0}的化学符号是什么？", "{0}的化学符号是 {1}。"),
    (SOUNDS, "What sound does a {0} make?", "A {0} makes the sound {1}.", "{0}怎么叫？", "{0}的叫声是“{1}”。"),
    (COLOURS, "What colour is {0}?", "The colour of {0} is {1}.", "{0}是什么颜色？", "{0}是{1}。"),
    (NUMBERS, "How do you write {0} in digits?", "In digits, {0} is {1}.", "“{0}”用数字怎么写？", "“{0}”写作 {1}。"),
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A question, its short answer, and the whole sentence that states it."""

    question: str
    answer: str
    statement: str
    language: str
    subject: str  # what the question asks about
    topic: int  # the number of its table
    row: int  # of the table; the fact in the other language has the same


def all_facts() -> list[Fact]:
    """Return every fact, English and Chinese, in a fixed order."""
    facts = []
    for topic, (table, ask_en, state_en, ask_zh, state_zh) in enumerate(TABLES):
        for row, (en, answer_en, zh, answer_zh) in enumerate(entries(table)):
            facts.append(Fact(ask_en.format(en), answer_en, state_en.format(en, answer_en), "en", en, topic, row))
            facts.append(Fact(ask_zh.format(zh), answer_zh, state_zh.format(zh, answer_zh), "zh", zh, topic, row))
    days, months = len(TABLES), len(TABLES) + 1
    return (
        facts
        + _successors(DAYS, "en", days)
        + _successors(DAYS_ZH, "zh", days)
        + _successors(MONTHS, "en", months)
        + _successors(MONTHS_ZH, "zh", months)
    )


def entries(table: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table: what is asked and the answer, in English, then in Chinese."""
    return [tuple(entry.split()) for entry in table.strip().replace("\n", "|").split("|")]  # type: ignore[misc]


def _successors(cycle: list[str], language: str, topic: int) -> list[Fact]:
    ask, state = (
        ("What comes after {0}?", "After {0} comes {1}.") if language == "en" else ("{0}之后是什么？", "{0}之后是{1}。")
    )
    pairs = zip(cycle, cycle[1:] + cycle[:1], strict=True)
    return [Fact(ask.format(a), b, state.format(a, b), language, a, topic, row) for row, (a, b) in enumerate(pairs)]
